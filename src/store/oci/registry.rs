//! Requests to one repository of a registry: authentication, counting, redirects, and errors.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, LINK, LOCATION};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use url::Url;

use super::auth::{Auth, AuthError, AuthScope};
use super::refusal::RegistryErrorResponse;
use crate::observe::Observer;
use crate::store::access::Access;
use crate::store::location::Location;
use crate::store::meter::Meter;
use crate::store::{ENTRIES_MAX, SMALL_MAX, StoreError, StoreErrorKind, http};

/// Number of tags per page; a registry may return fewer.
const TAGS: &str = "n=1000";
/// Limit in bytes on responses that are not blobs: a page of tags, or a manifest, which has at most
/// 4 MiB.
const BODY_MAX: usize = 8 << 20;
/// Limit on the pages of a list.
const PAGES_MAX: usize = 10_000;

/// The operation of a request, for errors.
#[derive(Clone, Debug)]
pub(super) struct RequestInfo {
    /// The operation as a verb, such as "read".
    pub(super) what: &'static str,
    pub(super) key: String,
}

/// A repository of a registry.
pub(super) struct Registry {
    base: Url,
    place: String,
    client: Client,
    uploader: Client,
    auth: Auth,
    /// Counts and limits the transferred bytes.
    pub(super) meter: Arc<Meter>,
    /// Reports whether the caller has cancelled the operation.
    pub(super) observer: Arc<dyn Observer>,
}

impl Registry {
    /// Returns a client without sending a request. `base` is the URL of the repository.
    pub(super) fn new(
        base: Url,
        location: &Location,
        access: &Access,
        auth: Auth,
    ) -> Result<Self, reqwest::Error> {
        Ok(Self {
            base,
            place: location.to_string(),
            client: http::client()?,
            uploader: http::uploader()?,
            auth,
            meter: Arc::clone(&access.meter),
            observer: Arc::clone(&access.observer),
        })
    }

    /// Returns the URL without secrets.
    pub(super) fn place(&self) -> String {
        self.place.clone()
    }

    /// Returns an error of the operation `info`.
    pub(super) fn error(
        &self,
        info: &RequestInfo,
        error_kind: StoreErrorKind,
        detail: impl Into<String>,
    ) -> StoreError {
        StoreError::remote(info.what, &info.key, &self.place, error_kind, detail)
    }

    /// Fails if an object is longer than [`SMALL_MAX`], the limit for reading it into memory.
    pub(super) fn ensure_small(&self, key: &str, len: u64) -> Result<(), StoreError> {
        if len <= SMALL_MAX {
            return Ok(());
        }
        let info = RequestInfo {
            what: "read",
            key: key.to_owned(),
        };
        Err(self.error(
            &info,
            StoreErrorKind::InvalidResponse,
            format!("{len} bytes, but the limit for this object is {SMALL_MAX}"),
        ))
    }

    /// Returns the URL of a path in the repository.
    pub(super) fn url(&self, below: &str) -> Url {
        let mut url = self.base.clone();
        let (path, query) = below
            .split_once('?')
            .map_or((below, None), |(p, q)| (p, Some(q)));
        url.set_path(&format!("{}/{path}", self.base.path()));
        url.set_query(query);
        url
    }

    /// Resolves a URL in a response. A registry behind a proxy may return `http` URLs although
    /// clients access it by `https`.
    pub(super) fn resolve(&self, from: &Url, to: &str) -> Option<Url> {
        let mut url = from.join(to).ok()?;
        let host = |u: &Url| (u.host_str().map(str::to_owned), u.port());
        if self.base.scheme() == "https" && url.scheme() == "http" && host(&url) == host(&self.base)
        {
            url.set_scheme("https").ok()?;
        }
        Some(url)
    }

    /// Returns whether a URL belongs to the registry itself. Other servers get no secrets.
    fn is_registry(&self, url: &Url) -> bool {
        url.origin() == self.base.origin()
    }

    /// Sends a request and returns the response with any status. `dress` adds headers and body, and
    /// may be called several times.
    pub(super) async fn send(
        &self,
        info: &RequestInfo,
        method: Method,
        url: &Url,
        dress: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<Response, StoreError> {
        let here = self.is_registry(url);
        let scope = if method == Method::DELETE {
            AuthScope::Delete
        } else {
            AuthScope::Use
        };
        let auth_error = |e: AuthError| self.error(info, e.error_kind, e.detail);
        let ready = match here {
            true => self
                .auth
                .ready(&self.client, &self.meter, scope)
                .await
                .map_err(auth_error)?,
            false => None,
        };
        let response = self
            .attempt(info, &method, url, &dress, ready.as_ref())
            .await?;
        if response.status() != StatusCode::UNAUTHORIZED
            || !here
            || !self.is_registry(response.url())
        {
            // Only the registry's own challenge is answered. A server that it redirects to must not
            // get the password.
            return Ok(response);
        }
        let answer = self
            .auth
            .answer(
                &self.client,
                &self.meter,
                scope,
                response.headers(),
                ready.as_ref(),
            )
            .await;
        // Try only once more: a second 401 means that the registry rejects the new credentials.
        self.attempt(
            info,
            &method,
            url,
            &dress,
            Some(&answer.map_err(auth_error)?),
        )
        .await
    }

    /// Sends a request and follows redirects of reads. Registries often redirect to another server
    /// for blobs; that server gets no secrets.
    async fn attempt(
        &self,
        info: &RequestInfo,
        method: &Method,
        url: &Url,
        dress: impl Fn(RequestBuilder) -> RequestBuilder,
        proof: Option<&HeaderValue>,
    ) -> Result<Response, StoreError> {
        let client = if *method == Method::PUT {
            &self.uploader
        } else {
            &self.client
        };
        let mut url = url.clone();
        for _ in 0..=http::HOPS {
            let mut request = dress(client.request(method.clone(), url.clone()));
            // A server that the registry redirects to never gets the credentials.
            if let Some(proof) = proof.filter(|_| self.is_registry(&url)) {
                request = request.header(AUTHORIZATION, proof.clone());
            }
            self.meter.request();
            let response = request
                .send()
                .await
                .map_err(|e| self.request_error(info, e))?;
            // A redirected write is not followed, because it would store the object at another
            // server.
            let is_read = *method == Method::GET || *method == Method::HEAD;
            let target = response
                .headers()
                .get(LOCATION)
                .and_then(|l| l.to_str().ok());
            match target.filter(|_| is_read && response.status().is_redirection()) {
                None => return self.ensure_no_web_page(info, response),
                Some(target) => url = self.redirected(info, response.url(), target)?,
            }
        }
        Err(self.error(info, StoreErrorKind::InvalidResponse, "too many redirects"))
    }

    /// Returns the target of a redirect. Fails if the target is not encrypted but the registry is.
    fn redirected(&self, info: &RequestInfo, from: &Url, to: &str) -> Result<Url, StoreError> {
        let url = self.resolve(from, to);
        let url = url.ok_or_else(|| {
            self.error(
                info,
                StoreErrorKind::InvalidResponse,
                "redirect to an invalid URL",
            )
        })?;
        match (self.base.scheme(), url.scheme()) {
            (_, "https") | ("http", "http") => Ok(url),
            _ => {
                let detail = format!(
                    "redirect to {}://{}",
                    url.scheme(),
                    url.host_str().unwrap_or_default()
                );
                Err(self.error(info, StoreErrorKind::Untrusted, detail))
            }
        }
    }

    /// Fails if a successful response is a web page, which registries never return but login pages
    /// and proxies do.
    fn ensure_no_web_page(
        &self,
        info: &RequestInfo,
        response: Response,
    ) -> Result<Response, StoreError> {
        let kind = response
            .headers()
            .get(CONTENT_TYPE)
            .and_then(|t| t.to_str().ok())
            .unwrap_or_default();
        match response.status() == StatusCode::OK && kind.starts_with("text/html") {
            true => Err(self.error(info, StoreErrorKind::WebPage, "status 200 with a web page")),
            false => Ok(response),
        }
    }

    /// Returns the error of a request without a complete response.
    pub(super) fn request_error(&self, info: &RequestInfo, e: reqwest::Error) -> StoreError {
        // The URLs of uploads and redirects contain signatures.
        let e = e.without_url();
        self.error(info, http::error_kind_of(&e), http::root_cause(&e))
    }

    /// Parses an unsuccessful response.
    pub(super) async fn error_response(&self, mut response: Response) -> RegistryErrorResponse {
        let body = http::first_bytes(&mut response, http::ERROR_BODY_MAX).await;
        let signed = self.is_registry(response.url()) && self.auth.has_login().await;
        RegistryErrorResponse::new(response.status(), response.headers(), &body, signed)
    }

    /// Returns the error of an unsuccessful response.
    pub(super) async fn status_error(&self, info: &RequestInfo, response: Response) -> StoreError {
        let refusal = self.error_response(response).await;
        self.error(info, refusal.error_kind(), refusal.detail)
    }

    /// Returns the next piece of a response. Counts the bytes and limits the rate.
    pub(super) async fn piece(
        &self,
        info: &RequestInfo,
        response: &mut Response,
    ) -> Result<Option<Bytes>, StoreError> {
        let piece = response
            .chunk()
            .await
            .map_err(|e| self.request_error(info, e))?;
        if let Some(piece) = &piece {
            let wait = self.meter.down.pass(piece.len() as u64);
            if wait > Duration::ZERO {
                tokio::time::sleep(wait).await;
            }
        }
        Ok(piece)
    }

    /// Returns the whole body of a small response.
    pub(super) async fn body(
        &self,
        info: &RequestInfo,
        mut response: Response,
    ) -> Result<Vec<u8>, StoreError> {
        let mut out = Vec::new();
        while let Some(piece) = self.piece(info, &mut response).await? {
            // One byte beyond the limit is kept, which shows that the response is too long.
            out.extend_from_slice(
                &piece[..piece.len().min(BODY_MAX + 1 - out.len().min(BODY_MAX))],
            );
            if out.len() > BODY_MAX {
                return Err(self.error(info, StoreErrorKind::InvalidResponse, "response too long"));
            }
        }
        Ok(out)
    }

    /// Returns all tags, sorted. Returns none if the repository does not exist.
    pub(super) async fn tags(&self, info: &RequestInfo) -> Result<Vec<String>, StoreError> {
        #[derive(serde::Deserialize)]
        struct Page {
            tags: Option<Vec<String>>,
        }
        let invalid = |detail: &str| self.error(info, StoreErrorKind::InvalidResponse, detail);
        let (mut out, mut next) = (Vec::new(), Some(self.url(&format!("tags/list?{TAGS}"))));
        for page in 0..PAGES_MAX {
            let Some(url) = next else {
                out.sort_unstable();
                // A tag may be on two pages if other clients change tags while the list is read.
                out.dedup();
                return Ok(out);
            };
            let response = self.send(info, Method::GET, &url, |r| r).await?;
            match response.status() {
                StatusCode::OK => {}
                // A registry creates a repository with its first upload.
                StatusCode::NOT_FOUND if page == 0 => return Ok(Vec::new()),
                // The error is transient, so the listing is read again. A shortened listing would
                // hide refs.
                StatusCode::NOT_FOUND => {
                    return Err(self.error(
                        info,
                        StoreErrorKind::Unreachable,
                        "missing page of the list of tags",
                    ));
                }
                _ => return Err(self.status_error(info, response).await),
            }
            let links: Vec<&str> = response
                .headers()
                .get_all(LINK)
                .iter()
                .filter_map(|l| l.to_str().ok())
                .collect();
            next = match links.iter().find_map(|l| next_link(l)) {
                None => None,
                Some(link) => Some(
                    self.resolve(&url, link)
                        .ok_or_else(|| invalid("invalid URL of the next page"))?,
                ),
            };
            let body = self.body(info, response).await?;
            let page: Page = serde_json::from_slice(&body)
                .map_err(|e| invalid(&format!("list of tags: {e}")))?;
            // Registries send `null` for a repository without tags.
            out.extend(page.tags.unwrap_or_default());
            if out.len() > ENTRIES_MAX {
                break;
            }
        }
        Err(invalid("list of tags too long"))
    }
}

/// Returns the target of `<target>; rel="next"`.
fn next_link(header: &str) -> Option<&str> {
    header.split(',').find_map(|link| {
        let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
        let is_next = |p: &str| {
            let (name, value) = p.split_once('=').unwrap_or((p, ""));
            name.trim().eq_ignore_ascii_case("rel")
                && value.trim().trim_matches('"').eq_ignore_ascii_case("next")
        };
        parameters.split(';').any(is_next).then_some(target)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_to_the_next_page() {
        assert_eq!(
            next_link("</v2/a/tags/list?last=x&n=9>; rel=\"next\""),
            Some("/v2/a/tags/list?last=x&n=9")
        );
        assert_eq!(next_link("<a>; rel=prev, <b>;title=x; rel=next"), Some("b"));
        assert_eq!(next_link("<a>; rel=\"last\""), None);
        assert_eq!(next_link("invalid"), None);
    }
}
