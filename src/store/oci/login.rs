//! Credentials for a registry: those that the caller passes, or those of `docker login`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use docker_credential::{CredentialRetrievalError, DockerCredential};
use reqwest::header::HeaderValue;

use crate::store::access::{Access, Secret};

/// The names of the credentials that the caller may pass.
const USERNAME: &str = "REGISTRY_USERNAME";
const PASSWORD: &str = "REGISTRY_PASSWORD";

#[derive(Clone, Debug)]
pub(super) struct BasicCredentials {
    user: String,
    password: Secret,
}

impl BasicCredentials {
    /// Returns the credentials of the caller, or an error message if only one of the two is set.
    pub(super) fn given(access: &Access) -> Result<Option<Self>, String> {
        let missing =
            |name: &str, other: &str| Err(format!("`{name}` is set, but `{other}` is not"));
        match (access.credential(USERNAME), access.credential(PASSWORD)) {
            (Some(user), Some(word)) => Ok(Some(Self {
                user: user.to_owned(),
                password: Secret::new(word.to_owned()),
            })),
            (None, None) => Ok(None),
            (Some(_), None) => missing(USERNAME, PASSWORD),
            (None, Some(_)) => missing(PASSWORD, USERNAME),
        }
    }

    /// Returns the header `Authorization: Basic`, marked as sensitive.
    pub(super) fn header(&self) -> Option<HeaderValue> {
        let pair = STANDARD.encode(format!("{}:{}", self.user, self.password.reveal()));
        secret_header("Basic", &pair)
    }
}

/// Returns a header that is marked as sensitive, so that it does not appear in logs.
pub(super) fn secret_header(scheme: &str, value: &str) -> Option<HeaderValue> {
    let mut header = HeaderValue::from_str(&format!("{scheme} {value}")).ok()?;
    header.set_sensitive(true);
    Some(header)
}

/// The identity for requests to a registry.
#[derive(Clone, Debug)]
pub(super) enum Login {
    Password(BasicCredentials),
    /// An identity token, with which the token server issues access tokens.
    Identity(Secret),
    /// No credentials, with the reason if there is one.
    Anonymous(Option<String>),
}

impl Login {
    /// Reads Docker's `config.json`, and runs the credential helper that it names, which may take a
    /// while.
    pub(super) fn from_docker(server: &str) -> Self {
        match docker_credential::get_credential(server) {
            Ok(DockerCredential::UsernamePassword(user, password)) => {
                Self::Password(BasicCredentials {
                    user,
                    password: Secret::new(password),
                })
            }
            Ok(DockerCredential::IdentityToken(token)) => Self::Identity(Secret::new(token)),
            Err(e) => Self::Anonymous(failure_reason(&e)),
        }
    }

    /// Returns a description of the identity for messages.
    pub(super) fn who(&self, server: &str) -> String {
        match self {
            Self::Password(p) => format!("user `{}`", p.user),
            Self::Identity(_) => "the identity token of `docker login`".to_owned(),
            Self::Anonymous(None) => {
                format!(
                    "no credentials: `{USERNAME}` is not set, and there is no `docker login` for `{server}`"
                )
            }
            Self::Anonymous(Some(why)) => format!("no credentials: {why}"),
        }
    }
}

/// Returns the reason why the credentials cannot be read, or `None` if there are none. Omits the
/// output of helpers, which may contain secrets.
fn failure_reason(e: &CredentialRetrievalError) -> Option<String> {
    match e {
        CredentialRetrievalError::NoCredentialConfigured
        | CredentialRetrievalError::ConfigNotFound
        | CredentialRetrievalError::ConfigReadError => None,
        // Docker's credential helpers print this text if they have no entry for the server.
        CredentialRetrievalError::HelperFailure { stdout, .. }
            if stdout.contains("credentials not found") =>
        {
            None
        }
        CredentialRetrievalError::HelperFailure { helper, .. } => {
            Some(format!("`{helper}` failed"))
        }
        e => Some(e.to_string()),
    }
}
