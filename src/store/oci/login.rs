//! Who we are to a registry: what the caller gave, else what `docker login` left behind.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use docker_credential::{CredentialRetrievalError, DockerCredential};
use reqwest::header::HeaderValue;

use crate::store::access::{Access, Secret};

/// The credentials that a caller may give.
const USERNAME: &str = "REGISTRY_USERNAME";
const PASSWORD: &str = "REGISTRY_PASSWORD";

/// A user name and a password.
#[derive(Clone, Debug)]
pub(super) struct Password {
    user: String,
    password: Secret,
}

impl Password {
    /// What the caller gave; half of it is an error, in words.
    pub(super) fn given(access: &Access) -> Result<Option<Self>, String> {
        let missing = |name: &str, other: &str| Err(format!("`{name}` is set, but `{other}` is not"));
        match (access.credential(USERNAME), access.credential(PASSWORD)) {
            (Some(user), Some(word)) => {
                Ok(Some(Self { user: user.to_owned(), password: Secret::new(word.to_owned()) }))
            }
            (None, None) => Ok(None),
            (Some(_), None) => missing(USERNAME, PASSWORD),
            (None, Some(_)) => missing(PASSWORD, USERNAME),
        }
    }

    /// `Authorization: Basic`, never shown.
    pub(super) fn header(&self) -> Option<HeaderValue> {
        let pair = STANDARD.encode(format!("{}:{}", self.user, self.password.reveal()));
        secret_header("Basic", &pair)
    }
}

/// A header that is left out of every log.
pub(super) fn secret_header(scheme: &str, value: &str) -> Option<HeaderValue> {
    let mut header = HeaderValue::from_str(&format!("{scheme} {value}")).ok()?;
    header.set_sensitive(true);
    Some(header)
}

/// Who we are.
#[derive(Clone, Debug)]
pub(super) enum Login {
    /// With a password.
    Password(Password),
    /// With a token that is good for getting others.
    Identity(Secret),
    /// Nobody, and perhaps why.
    Nobody(Option<String>),
}

impl Login {
    /// Looks into docker's `config.json`, and asks the program that it names; that may take a while.
    pub(super) fn of_docker(server: &str) -> Self {
        match docker_credential::get_credential(server) {
            Ok(DockerCredential::UsernamePassword(user, password)) => {
                Self::Password(Password { user, password: Secret::new(password) })
            }
            Ok(DockerCredential::IdentityToken(token)) => Self::Identity(Secret::new(token)),
            Err(e) => Self::Nobody(why_not(&e)),
        }
    }

    /// For people: who it was.
    pub(super) fn who(&self, server: &str) -> String {
        match self {
            Self::Password(p) => format!("user `{}`", p.user),
            Self::Identity(_) => "the identity token of `docker login`".to_owned(),
            Self::Nobody(None) => format!("nobody: neither `{USERNAME}` nor `docker login` for `{server}`"),
            Self::Nobody(Some(why)) => format!("nobody: {why}"),
        }
    }
}

/// Why there are no credentials, unless there just are none. What a program printed may be secret.
fn why_not(e: &CredentialRetrievalError) -> Option<String> {
    match e {
        CredentialRetrievalError::NoCredentialConfigured
        | CredentialRetrievalError::ConfigNotFound
        | CredentialRetrievalError::ConfigReadError => None,
        CredentialRetrievalError::HelperFailure { stdout, .. } if stdout.contains("credentials not found") => None,
        CredentialRetrievalError::HelperFailure { helper, .. } => Some(format!("`{helper}` failed")),
        e => Some(e.to_string()),
    }
}
