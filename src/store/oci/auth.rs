//! Proves who is asking, in the way the registry wants it: not at all, by password, or by tokens from a token server.
//!
//! Nothing is sent before the registry asked for it. One lock makes many requests wait for one token.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use serde::Deserialize;
use tokio::sync::Mutex;
use url::{Url, form_urlencoded};

use super::challenge::Challenge;
use super::login::{Login, Password, secret_header};
use super::refusal::Refusal;
use crate::store::meter::Meter;
use crate::store::{Trouble, http};

/// How long a token is good if its server does not say.
const TOKEN_LIFE: u64 = 60;
/// A token is not used when it ends sooner than this, at most a quarter of its life.
const TOKEN_MARGIN: u64 = 30;
/// No answer with a token is longer, in bytes.
const TOKEN_MAX: usize = 1 << 20;
/// A program of docker that knows passwords answers within this.
const HELPER: Duration = Duration::from_secs(30);

/// For what a request asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Scope {
    /// Reading, and writing where that is granted.
    Use,
    /// Deleting.
    Delete,
}

/// Why there is no proof.
#[derive(Debug)]
pub(super) struct NoProof {
    /// What is wrong.
    pub(super) trouble: Trouble,
    /// In words.
    pub(super) said: String,
}

impl NoProof {
    fn denied(said: String) -> Self {
        Self { trouble: Trouble::Denied, said }
    }

    /// What a login that is refused means.
    const fn of(login: &Login) -> Trouble {
        match login {
            Login::Nobody(_) => Trouble::NoCredentials,
            Login::Password(_) | Login::Identity(_) => Trouble::Denied,
        }
    }
}

struct Token {
    header: HeaderValue,
    until: Instant,
}

#[derive(Default)]
struct State {
    challenge: Option<Challenge>,
    login: Option<Login>,
    /// What the registry calls deleting, where it said so.
    deleting: Option<String>,
    tokens: HashMap<Scope, Token>,
}

/// Proofs for one repository.
pub(super) struct Auth {
    /// The repository's name.
    pub(super) repository: String,
    /// The registry's name in docker's configuration.
    pub(super) server: String,
    /// Whether the registry itself is reached without encryption.
    pub(super) plain: bool,
    given: Option<Password>,
    state: Mutex<State>,
}

impl Auth {
    /// For a repository; nothing is looked up yet.
    pub(super) fn new(repository: String, server: String, plain: bool, given: Option<Password>) -> Self {
        Self { repository, server, plain, given, state: Mutex::default() }
    }

    /// The header for a request, as far as it is known what the registry wants.
    pub(super) async fn ready(
        &self,
        client: &reqwest::Client,
        meter: &Meter,
        scope: Scope,
    ) -> Result<Option<HeaderValue>, NoProof> {
        let mut state = self.state.lock().await;
        match state.challenge.clone() {
            None => Ok(None),
            Some(Challenge::Basic) => Ok(self.basic(&mut state).await.ok()),
            Some(challenge) => self.token(&mut state, client, meter, scope, &challenge).await.map(Some),
        }
    }

    /// The header for another attempt after an answer 401 to a request with the header `used`.
    pub(super) async fn answer(
        &self,
        client: &reqwest::Client,
        meter: &Meter,
        scope: Scope,
        asked: &HeaderMap,
        used: Option<&HeaderValue>,
    ) -> Result<HeaderValue, NoProof> {
        let offered: Vec<&str> = asked.get_all(WWW_AUTHENTICATE).iter().filter_map(|h| h.to_str().ok()).collect();
        let challenge = Challenge::parse(&offered);
        let challenge = challenge.ok_or_else(|| match offered.as_slice() {
            [] => NoProof::denied("it answered 401 and did not say what it wants".to_owned()),
            offered => NoProof::denied(format!("it wants what dvc does not know: {}", offered.join(", "))),
        })?;
        let mut state = self.state.lock().await;
        state.challenge = Some(challenge.clone());
        if challenge == Challenge::Basic {
            let header = self.basic(&mut state).await?;
            if used == Some(&header) {
                let who = self.login(&mut state).await.who(&self.server);
                return Err(NoProof::denied(format!("401 Unauthorized for {who}")));
            }
            return Ok(header);
        }
        // A challenge names the scope of the request that it answers.
        if let (Scope::Delete, Challenge::Bearer { scope: Some(wanted), .. }) = (scope, &challenge)
            && wanted.starts_with(&format!("repository:{}:", self.repository))
        {
            state.deleting = Some(wanted.clone());
        }
        // Somebody else may have renewed it meanwhile.
        if state.tokens.get(&scope).is_some_and(|t| Some(&t.header) == used) {
            state.tokens.remove(&scope);
        }
        self.token(&mut state, client, meter, scope, &challenge).await
    }

    /// Whether requests prove who is asking. While it is not known, the registry has not asked for it.
    pub(super) async fn has_login(&self) -> bool {
        !matches!(self.state.lock().await.login, Some(Login::Nobody(_)))
    }

    async fn login(&self, state: &mut State) -> Login {
        if let Some(login) = &state.login {
            return login.clone();
        }
        let login = match &self.given {
            Some(given) => Login::Password(given.clone()),
            None => {
                let server = self.server.clone();
                let looked = tokio::task::spawn_blocking(move || Login::of_docker(&server));
                match tokio::time::timeout(HELPER, looked).await {
                    Ok(looked) => looked.unwrap_or(Login::Nobody(None)),
                    // It may wait for somebody to type something.
                    Err(_) => Login::Nobody(Some(format!("docker's credential helper did not answer in {HELPER:?}"))),
                }
            }
        };
        state.login = Some(login.clone());
        login
    }

    async fn basic(&self, state: &mut State) -> Result<HeaderValue, NoProof> {
        let login = self.login(state).await;
        let header = match &login {
            Login::Password(password) => password.header(),
            _ => None,
        };
        let who = || format!("it wants a user name and a password; we are {}", login.who(&self.server));
        header.ok_or_else(|| NoProof { trouble: NoProof::of(&login), said: who() })
    }

    async fn token(
        &self,
        state: &mut State,
        client: &reqwest::Client,
        meter: &Meter,
        scope: Scope,
        challenge: &Challenge,
    ) -> Result<HeaderValue, NoProof> {
        if let Some(token) = state.tokens.get(&scope).filter(|t| t.until > Instant::now()) {
            return Ok(token.header.clone());
        }
        let Challenge::Bearer { realm, service, .. } = challenge else {
            return Err(NoProof::denied("it asks for no token".to_owned()));
        };
        let realm = Url::parse(realm).map_err(|e| NoProof {
            trouble: Trouble::Nonsense,
            said: format!("its token server `{realm}` is no URL: {e}"),
        })?;
        if realm.scheme() != "https" && !self.plain {
            let said = format!("its token server `{realm}` is not encrypted");
            return Err(NoProof { trouble: Trouble::Untrusted, said });
        }
        let login = self.login(state).await;
        let server = TokenServer { client, meter, realm, service: service.as_deref(), login: &login };
        let name = &self.repository;
        let token = match scope {
            Scope::Use => match server.ask(&format!("repository:{name}:pull,push")).await {
                // Who may not write may still read.
                Err(e) if e.trouble == Trouble::Denied => {
                    server.ask(&format!("repository:{name}:pull")).await.map_err(|_| e)
                }
                answer => answer,
            },
            Scope::Delete => {
                let wanted = state.deleting.clone();
                server.ask(&wanted.unwrap_or_else(|| format!("repository:{name}:delete"))).await
            }
        };
        let token = token.map_err(|mut e| {
            if e.trouble == Trouble::Denied {
                e.trouble = NoProof::of(&login);
                e.said = format!("{} (we are {})", e.said, login.who(&self.server));
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
struct Answer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

impl TokenServer<'_> {
    async fn ask(&self, scope: &str) -> Result<Token, NoProof> {
        let fail = |trouble, what: &str| NoProof { trouble, said: format!("token server {}: {what}", self.realm) };
        let asked = Instant::now();
        self.meter.request();
        let mut response = self.request(scope).send().await.map_err(|e| {
            let trouble = http::trouble_of(&e);
            fail(trouble, &http::root_cause(&e.without_url()))
        })?;
        if !response.status().is_success() {
            let body = http::first_bytes(&mut response, http::REFUSAL_MAX).await;
            let refusal = Refusal::new(response.status(), response.headers(), &body, true);
            return Err(fail(refusal.trouble(), &refusal.said));
        }
        let nonsense = || fail(Trouble::Nonsense, "its answer holds no token");
        let body = http::whole_body(&mut response, TOKEN_MAX).await;
        let body = body.map_err(|e| fail(http::trouble_of(&e), &http::root_cause(&e.without_url())))?;
        let body = body.ok_or_else(nonsense)?;
        let answer: Answer = serde_json::from_slice(&body).map_err(|_| nonsense())?;
        let token = answer.token.or(answer.access_token).ok_or_else(nonsense)?;
        let header = secret_header("Bearer", &token).ok_or_else(nonsense)?;
        let life = answer.expires_in.filter(|s| *s > 0).unwrap_or(TOKEN_LIFE);
        let usable = Duration::from_secs(life.min(u64::from(u32::MAX)) - TOKEN_MARGIN.min(life / 4));
        Ok(Token { header, until: asked + usable })
    }

    fn request(&self, scope: &str) -> reqwest::RequestBuilder {
        let mut fields: Vec<(&str, &str)> = self.service.iter().map(|s| ("service", *s)).collect();
        fields.push(("scope", scope));
        if let Login::Identity(token) = self.login {
            fields.extend([("grant_type", "refresh_token"), ("client_id", "dvc"), ("refresh_token", token.reveal())]);
            let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
            let request = self.client.post(self.realm.clone());
            return request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form);
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
