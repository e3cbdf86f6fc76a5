//! Authentication to a registry by its challenge: anonymous, by password, or by tokens of a token
//! server.
//!
//! No credentials are sent before the registry requests them. One lock makes concurrent requests
//! share one token.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use serde::Deserialize;
use tokio::sync::Mutex;
use url::{Url, form_urlencoded};

use super::challenge::Challenge;
use super::login::{BasicCredentials, Login, secret_header};
use super::refusal::RegistryErrorResponse;
use crate::store::meter::Meter;
use crate::store::{StoreErrorKind, http};

/// Lifetime of a token in seconds, if the server does not state one.
// The default of the token specification:
// <https://distribution.github.io/distribution/spec/auth/token/>.
const TOKEN_LIFE: u64 = 60;
/// A token is renewed this many seconds before it expires, but at most a quarter of its lifetime
/// before.
const TOKEN_MARGIN: u64 = 30;
/// Limit on the length of a token response in bytes.
const TOKEN_MAX: usize = 1 << 20;
/// Time limit for a Docker credential helper.
const HELPER_LIMIT: Duration = Duration::from_secs(30);

/// The permission that a request needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum AuthScope {
    /// Reading, and writing if the registry grants it.
    Use,
    Delete,
}

/// The error of an authentication.
#[derive(Debug)]
pub(super) struct AuthError {
    pub(super) error_kind: StoreErrorKind,
    pub(super) detail: String,
}

impl AuthError {
    fn denied(detail: String) -> Self {
        Self {
            error_kind: StoreErrorKind::Denied,
            detail,
        }
    }

    /// Returns the kind of the error if a login is rejected.
    const fn of(login: &Login) -> StoreErrorKind {
        match login {
            Login::Anonymous(_) => StoreErrorKind::NoCredentials,
            Login::Password(_) | Login::Identity(_) => StoreErrorKind::Denied,
        }
    }
}

struct Token {
    header: HeaderValue,
    until: Instant,
}

#[derive(Default)]
struct AuthState {
    challenge: Option<Challenge>,
    login: Option<Login>,
    /// The scope for deleting that the registry requested.
    deleting: Option<String>,
    tokens: HashMap<AuthScope, Token>,
}

/// The authentication to one repository.
pub(super) struct Auth {
    /// Name of the repository.
    pub(super) repository: String,
    /// Name of the registry in Docker's configuration.
    pub(super) server: String,
    /// Whether the registry is accessed without encryption.
    pub(super) plain: bool,
    given: Option<BasicCredentials>,
    state: Mutex<AuthState>,
}

impl Auth {
    /// Returns the authentication of a repository without looking up credentials.
    pub(super) fn new(
        repository: String,
        server: String,
        plain: bool,
        given: Option<BasicCredentials>,
    ) -> Self {
        Self {
            repository,
            server,
            plain,
            given,
            state: Mutex::default(),
        }
    }

    /// Returns the header for a request, or `None` if the registry has not sent a challenge yet or
    /// requires a password that is not known.
    pub(super) async fn ready(
        &self,
        client: &reqwest::Client,
        meter: &Meter,
        scope: AuthScope,
    ) -> Result<Option<HeaderValue>, AuthError> {
        let mut state = self.state.lock().await;
        match state.challenge.clone() {
            None => Ok(None),
            // Without a password, the request is sent as it is; the registry decides whether that
            // suffices.
            Some(Challenge::Basic) => Ok(self.basic(&mut state).await.ok()),
            Some(challenge) => self
                .token(&mut state, client, meter, scope, &challenge)
                .await
                .map(Some),
        }
    }

    /// Returns the header for another attempt, after a response 401 to a request with the header
    /// `used`.
    pub(super) async fn answer(
        &self,
        client: &reqwest::Client,
        meter: &Meter,
        scope: AuthScope,
        response_headers: &HeaderMap,
        used: Option<&HeaderValue>,
    ) -> Result<HeaderValue, AuthError> {
        let offered: Vec<&str> = response_headers
            .get_all(WWW_AUTHENTICATE)
            .iter()
            .filter_map(|h| h.to_str().ok())
            .collect();
        let challenge = Challenge::parse(&offered);
        let challenge = challenge.ok_or_else(|| match offered.as_slice() {
            [] => AuthError::denied("status 401 without a challenge".to_owned()),
            offered => AuthError::denied(format!(
                "unsupported authentication scheme: {}",
                offered.join(", ")
            )),
        })?;
        let mut state = self.state.lock().await;
        state.challenge = Some(challenge.clone());
        if challenge == Challenge::Basic {
            let header = self.basic(&mut state).await?;
            // The registry has just rejected this password, so sending it again would fail too.
            if used == Some(&header) {
                let who = self.login(&mut state).await.who(&self.server);
                return Err(AuthError::denied(format!("401 Unauthorized for {who}")));
            }
            return Ok(header);
        }
        // A challenge contains the scope of the rejected request; remember the one for deleting.
        if let (
            AuthScope::Delete,
            Challenge::Bearer {
                scope: Some(wanted),
                ..
            },
        ) = (scope, &challenge)
            && wanted.starts_with(&format!("repository:{}:", self.repository))
        {
            state.deleting = Some(wanted.clone());
        }
        // Another request may have renewed the token in the meantime.
        if state
            .tokens
            .get(&scope)
            .is_some_and(|t| Some(&t.header) == used)
        {
            state.tokens.remove(&scope);
        }
        self.token(&mut state, client, meter, scope, &challenge)
            .await
    }

    /// Returns whether requests are authenticated. Also true before the registry has sent a
    /// challenge.
    pub(super) async fn has_login(&self) -> bool {
        !matches!(self.state.lock().await.login, Some(Login::Anonymous(_)))
    }

    async fn login(&self, state: &mut AuthState) -> Login {
        if let Some(login) = &state.login {
            return login.clone();
        }
        let login = match &self.given {
            Some(given) => Login::Password(given.clone()),
            None => {
                let server = self.server.clone();
                // A credential helper is a program that blocks its thread.
                let looked = tokio::task::spawn_blocking(move || Login::from_docker(&server));
                match tokio::time::timeout(HELPER_LIMIT, looked).await {
                    Ok(looked) => looked.unwrap_or(Login::Anonymous(None)),
                    // A helper may wait for user input forever.
                    Err(_) => Login::Anonymous(Some(format!(
                        "no response from Docker's credential helper within {HELPER_LIMIT:?}"
                    ))),
                }
            }
        };
        state.login = Some(login.clone());
        login
    }

    async fn basic(&self, state: &mut AuthState) -> Result<HeaderValue, AuthError> {
        let login = self.login(state).await;
        let header = match &login {
            Login::Password(password) => password.header(),
            _ => None,
        };
        let detail = || {
            format!(
                "the registry requires a user name and a password; tried {}",
                login.who(&self.server)
            )
        };
        header.ok_or_else(|| AuthError {
            error_kind: AuthError::of(&login),
            detail: detail(),
        })
    }

    async fn token(
        &self,
        state: &mut AuthState,
        client: &reqwest::Client,
        meter: &Meter,
        scope: AuthScope,
        challenge: &Challenge,
    ) -> Result<HeaderValue, AuthError> {
        if let Some(token) = state
            .tokens
            .get(&scope)
            .filter(|t| t.until > Instant::now())
        {
            return Ok(token.header.clone());
        }
        let Challenge::Bearer { realm, service, .. } = challenge else {
            return Err(AuthError::denied(
                "the registry does not use tokens".to_owned(),
            ));
        };
        let realm = Url::parse(realm).map_err(|e| AuthError {
            error_kind: StoreErrorKind::InvalidResponse,
            detail: format!("invalid URL `{realm}` of the token server: {e}"),
        })?;
        // An unencrypted token server would reveal the password to the network.
        if realm.scheme() != "https" && !self.plain {
            let detail = format!("the token server `{realm}` is not encrypted");
            return Err(AuthError {
                error_kind: StoreErrorKind::Untrusted,
                detail,
            });
        }
        let login = self.login(state).await;
        let server = TokenServer {
            client,
            meter,
            realm,
            service: service.as_deref(),
            login: &login,
        };
        let name = &self.repository;
        let token = match scope {
            // Request both permissions, so that one token serves the reads and writes of a push.
            AuthScope::Use => match server.ask(&format!("repository:{name}:pull,push")).await {
                // An account without permission to write may still be allowed to read.
                Err(e) if e.error_kind == StoreErrorKind::Denied => server
                    .ask(&format!("repository:{name}:pull"))
                    .await
                    .map_err(|_| e),
                answer => answer,
            },
            AuthScope::Delete => {
                let wanted = state.deleting.clone();
                server
                    .ask(&wanted.unwrap_or_else(|| format!("repository:{name}:delete")))
                    .await
            }
        };
        let token = token.map_err(|mut e| {
            if e.error_kind == StoreErrorKind::Denied {
                e.error_kind = AuthError::of(&login);
                e.detail = format!("{} (tried {})", e.detail, login.who(&self.server));
            }
            e
        })?;
        let header = token.header.clone();
        state.tokens.insert(scope, token);
        Ok(header)
    }
}

struct TokenServer<'a> {
    client: &'a reqwest::Client,
    meter: &'a Meter,
    realm: Url,
    service: Option<&'a str>,
    login: &'a Login,
}

#[derive(Deserialize)]
struct TokenResponse {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

impl TokenServer<'_> {
    async fn ask(&self, scope: &str) -> Result<Token, AuthError> {
        let fail = |error_kind, what: &str| AuthError {
            error_kind,
            detail: format!("token server {}: {what}", self.realm),
        };
        // The server issues the token after this instant, so the token cannot expire earlier than
        // computed.
        let requested = Instant::now();
        self.meter.request();
        let mut response = self.request(scope).send().await.map_err(|e| {
            let error_kind = http::error_kind_of(&e);
            fail(error_kind, &http::root_cause(&e.without_url()))
        })?;
        if !response.status().is_success() {
            let body = http::first_bytes(&mut response, http::ERROR_BODY_MAX).await;
            let refusal =
                RegistryErrorResponse::new(response.status(), response.headers(), &body, true);
            return Err(fail(refusal.error_kind(), &refusal.detail));
        }
        let invalid = || fail(StoreErrorKind::InvalidResponse, "response without a token");
        let body = http::whole_body(&mut response, TOKEN_MAX).await;
        let body =
            body.map_err(|e| fail(http::error_kind_of(&e), &http::root_cause(&e.without_url())))?;
        let body = body.ok_or_else(invalid)?;
        let response: TokenResponse = serde_json::from_slice(&body).map_err(|_| invalid())?;
        // The specification allows both names; servers for OAuth 2.0 use the second one.
        let token = response
            .token
            .or(response.access_token)
            .ok_or_else(invalid)?;
        let header = secret_header("Bearer", &token).ok_or_else(invalid)?;
        let life = response.expires_in.filter(|s| *s > 0).unwrap_or(TOKEN_LIFE);
        // The limit keeps a huge lifetime from overflowing the clock.
        let usable =
            Duration::from_secs(life.min(u64::from(u32::MAX)) - TOKEN_MARGIN.min(life / 4));
        Ok(Token {
            header,
            until: requested + usable,
        })
    }

    fn request(&self, scope: &str) -> reqwest::RequestBuilder {
        let mut fields: Vec<(&str, &str)> = self.service.iter().map(|s| ("service", *s)).collect();
        fields.push(("scope", scope));
        // Only the POST form of OAuth 2.0 accepts identity tokens.
        if let Login::Identity(token) = self.login {
            fields.extend([
                ("grant_type", "refresh_token"),
                ("client_id", "dvc"),
                ("refresh_token", token.reveal()),
            ]);
            let form = form_urlencoded::Serializer::new(String::new())
                .extend_pairs(fields)
                .finish();
            let request = self.client.post(self.realm.clone());
            return request
                .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(form);
        }
        let mut url = self.realm.clone();
        url.query_pairs_mut().extend_pairs(fields);
        let request = self.client.get(url);
        match self.login {
            Login::Password(password) => match password.header() {
                Some(header) => request.header(reqwest::header::AUTHORIZATION, header),
                None => request,
            },
            _ => request,
        }
    }
}
