//! Builds the opendal operator of a location. The URL is parsed by this crate, because opendal's
//! parser loses users, ports and schemes.

use opendal::Operator;
use opendal::services::{Azblob, Azfile, Gcs, S3, Webdav};

use crate::store::access::Access;
use crate::store::location::{Location, Scheme};

/// Default region of S3.
const REGION: &str = "us-east-1";

/// Returns the operator of a location with the credentials that the caller found. If some are
/// missing, opendal looks for them in profiles, instance metadata and service accounts.
pub(super) fn operator(location: &Location, access: &Access) -> opendal::Result<Operator> {
    let credential = |name: &str| access.credential(name);
    let option = |name: &str| location.option(name);
    let scheme = |default: &str| {
        if location.plain_http() {
            "http"
        } else {
            default
        }
        .to_owned()
    };
    let split = || {
        location
            .path
            .split_once('/')
            .unwrap_or((location.path.as_str(), ""))
    };
    let op = match location.scheme {
        Scheme::S3 => {
            let mut s3 = S3::default().bucket(&location.host).root(&location.path);
            let endpoint = option("endpoint")
                .or(credential("AWS_ENDPOINT_URL_S3"))
                .or(credential("AWS_ENDPOINT_URL"));
            if let Some(endpoint) = endpoint {
                s3 = s3.endpoint(&with_scheme(endpoint, &scheme("https")));
            }
            // Every signature contains a region, even for servers that have none.
            let region = option("region")
                .or(credential("AWS_REGION"))
                .or(credential("AWS_DEFAULT_REGION"));
            s3 = s3.region(region.unwrap_or(REGION));
            if let Some(key) = credential("AWS_ACCESS_KEY_ID") {
                s3 = s3
                    .access_key_id(key)
                    .secret_access_key(credential("AWS_SECRET_ACCESS_KEY").unwrap_or_default());
            }
            if let Some(token) = credential("AWS_SESSION_TOKEN") {
                s3 = s3.session_token(token);
            }
            if let Some(profile) = credential("AWS_PROFILE") {
                s3 = s3.profile(profile);
            }
            if location.is_on("anonymous") {
                s3 = s3.skip_signature();
            }
            if option("style") == Some("virtual") {
                s3 = s3.enable_virtual_host_style();
            }
            Operator::new(s3)?
        }
        Scheme::Azblob => {
            let (container, root) = split();
            let account = location.host.as_str();
            let default = format!("https://{account}.blob.core.windows.net");
            let endpoint = option("endpoint").unwrap_or(&default);
            let mut azblob = Azblob::default().container(container).root(root);
            azblob = azblob
                .endpoint(&with_scheme(endpoint, &scheme("https")))
                .account_name(account);
            if let Some(key) =
                credential("AZURE_STORAGE_KEY").or(credential("AZURE_STORAGE_ACCOUNT_KEY"))
            {
                azblob = azblob.account_key(key);
            }
            if let Some(token) = credential("AZURE_STORAGE_SAS_TOKEN") {
                azblob = azblob.sas_token(token);
            }
            Operator::new(azblob)?
        }
        Scheme::Azfile => {
            let (share, root) = split();
            let account = location.host.as_str();
            let default = format!("https://{account}.file.core.windows.net");
            let endpoint = option("endpoint").unwrap_or(&default);
            let mut azfile = Azfile::default().share_name(share).root(root);
            azfile = azfile
                .endpoint(&with_scheme(endpoint, &scheme("https")))
                .account_name(account);
            if let Some(key) =
                credential("AZURE_STORAGE_KEY").or(credential("AZURE_STORAGE_ACCOUNT_KEY"))
            {
                azfile = azfile.account_key(key);
            }
            Operator::new(azfile)?
        }
        Scheme::Gcs => {
            let mut gcs = Gcs::default().bucket(&location.host).root(&location.path);
            if let Some(endpoint) = option("endpoint").or(credential("STORAGE_EMULATOR_HOST")) {
                gcs = gcs.endpoint(&with_scheme(endpoint, &scheme("https")));
            }
            if let Some(path) = credential("GOOGLE_APPLICATION_CREDENTIALS") {
                gcs = gcs.credential_path(path);
            }
            // An emulator has no accounts, so requests to it are not signed.
            if location.is_on("anonymous") || credential("STORAGE_EMULATOR_HOST").is_some() {
                gcs = gcs.skip_signature();
            }
            Operator::new(gcs)?
        }
        Scheme::Webdav => {
            let endpoint = format!("{}://{}", scheme("https"), location.host);
            let mut webdav = Webdav::default().endpoint(&endpoint).root(&location.path);
            let user = location.user.as_deref().or(credential("WEBDAV_USERNAME"));
            if let Some(user) = user {
                webdav = webdav
                    .username(user)
                    .password(credential("WEBDAV_PASSWORD").unwrap_or_default());
            }
            if let Some(token) = credential("WEBDAV_TOKEN") {
                webdav = webdav.token(token);
            }
            Operator::new(webdav)?
        }
        Scheme::File | Scheme::Sftp | Scheme::Oci => {
            let text = "this scheme is not supported by opendal";
            return Err(opendal::Error::new(opendal::ErrorKind::Unsupported, text));
        }
    };
    Ok(op)
}

/// Returns an endpoint as a URL. Adds the default scheme if the endpoint has none, or `http` if the
/// endpoint is on this machine.
fn with_scheme(endpoint: &str, default: &str) -> String {
    if endpoint.contains("://") {
        return endpoint.trim_end_matches('/').to_owned();
    }
    let scheme = if crate::store::location::is_local(endpoint) {
        "http"
    } else {
        default
    };
    format!("{scheme}://{}", endpoint.trim_end_matches('/'))
}
