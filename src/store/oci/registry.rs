//! Requests to one repository of a registry: proof of who asks, counting, and errors that say what happened.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, LINK, LOCATION};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use url::Url;

use super::auth::{Auth, NoProof, Scope};
use super::refusal::Refusal;
use crate::observe::Observer;
use crate::store::access::Access;
use crate::store::location::Location;
use crate::store::meter::Meter;
use crate::store::{ENTRIES_MAX, SMALL_MAX, Said, StoreError, Trouble, http};

/// Tags that are asked for at once; a registry may give fewer.
const TAGS: &str = "n=1000";
/// No answer but that with a blob is longer, in bytes: a page of tags; a manifest has at most 4 MiB.
const BODY_MAX: usize = 8 << 20;
/// No more pages are followed.
const PAGES_MAX: usize = 10_000;

/// What is being tried, for errors.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// A verb.
    pub(super) what: &'static str,
    /// The key.
    pub(super) key: String,
}

/// One repository of a registry.
pub(super) struct Registry {
    base: Url,
    place: String,
    client: Client,
    uploader: Client,
    auth: Auth,
    /// Counts what goes over the network.
    pub(super) meter: Arc<Meter>,
    /// Says when everything shall stop.
    pub(super) observer: Arc<dyn Observer>,
}

impl Registry {
    /// Not reached yet. `base` is its URL and ends with the repository's name.
    pub(super) fn new(base: Url, location: &Location, access: &Access, auth: Auth) -> Result<Self, reqwest::Error> {
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

    /// Where it is, without secrets.
    pub(super) fn place(&self) -> String {
        self.place.clone()
    }

    /// An error about `asked`.
    pub(super) fn error(&self, asked: &Asked, trouble: Trouble, said: impl Into<String>) -> StoreError {
        let (what, key, place) = (asked.what, asked.key.clone(), self.place.clone());
        StoreError::Away { what, key, place, trouble, said: Said(said.into()) }
    }

    /// That an object is short enough to be read at once.
    pub(super) fn small(&self, key: &str, len: u64) -> Result<(), StoreError> {
        if len <= SMALL_MAX {
            return Ok(());
        }
        let asked = Asked { what: "read", key: key.to_owned() };
        Err(self.error(&asked, Trouble::Nonsense, format!("{len} bytes are too many for this object")))
    }

    /// The URL of something in the repository.
    pub(super) fn url(&self, below: &str) -> Url {
        let mut url = self.base.clone();
        let (path, query) = below.split_once('?').map_or((below, None), |(p, q)| (p, Some(q)));
        url.set_path(&format!("{}/{path}", self.base.path()));
        url.set_query(query);
        url
    }

    /// Where an answer points to. Behind a proxy a registry may believe that it is reached without encryption.
    pub(super) fn resolve(&self, from: &Url, to: &str) -> Option<Url> {
        let mut url = from.join(to).ok()?;
        let host = |u: &Url| (u.host_str().map(str::to_owned), u.port());
        if self.base.scheme() == "https" && url.scheme() == "http" && host(&url) == host(&self.base) {
            url.set_scheme("https").ok()?;
        }
        Some(url)
    }

    /// Whether a URL is at the registry itself; nothing secret is sent to others.
    fn is_here(&self, url: &Url) -> bool {
        url.origin() == self.base.origin()
    }

    /// Sends a request and gives the answer, whatever it is. `dress` adds headers and body, perhaps twice.
    pub(super) async fn send(
        &self,
        asked: &Asked,
        method: Method,
        url: &Url,
        dress: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<Response, StoreError> {
        let here = self.is_here(url);
        let scope = if method == Method::DELETE { Scope::Delete } else { Scope::Use };
        let no_proof = |e: NoProof| self.error(asked, e.trouble, e.said);
        let ready = match here {
            true => self.auth.ready(&self.client, &self.meter, scope).await.map_err(no_proof)?,
            false => None,
        };
        let response = self.attempt(asked, &method, url, &dress, ready.as_ref()).await?;
        if response.status() != StatusCode::UNAUTHORIZED || !here || !self.is_here(response.url()) {
            return Ok(response);
        }
        let answer = self.auth.answer(&self.client, &self.meter, scope, response.headers(), ready.as_ref()).await;
        self.attempt(asked, &method, url, &dress, Some(&answer.map_err(no_proof)?)).await
    }

    /// Sends a request. Blobs often lie with another server, to which the registry redirects: that one is only asked for
    /// them, and hears nothing secret.
    async fn attempt(
        &self,
        asked: &Asked,
        method: &Method,
        url: &Url,
        dress: impl Fn(RequestBuilder) -> RequestBuilder,
        proof: Option<&HeaderValue>,
    ) -> Result<Response, StoreError> {
        let client = if *method == Method::PUT { &self.uploader } else { &self.client };
        let mut url = url.clone();
        for _ in 0..=http::HOPS {
            let mut request = dress(client.request(method.clone(), url.clone()));
            if let Some(proof) = proof.filter(|_| self.is_here(&url)) {
                request = request.header(AUTHORIZATION, proof.clone());
            }
            self.meter.request();
            let response = request.send().await.map_err(|e| self.broken(asked, e))?;
            let is_read = *method == Method::GET || *method == Method::HEAD;
            let target = response.headers().get(LOCATION).and_then(|l| l.to_str().ok());
            match target.filter(|_| is_read && response.status().is_redirection()) {
                None => return self.answered(asked, response),
                Some(target) => url = self.redirected(asked, response.url(), target)?,
            }
        }
        Err(self.error(asked, Trouble::Nonsense, "it redirects again and again"))
    }

    /// Where a redirect of a read leads.
    fn redirected(&self, asked: &Asked, from: &Url, to: &str) -> Result<Url, StoreError> {
        let url = self.resolve(from, to);
        let url = url.ok_or_else(|| self.error(asked, Trouble::Nonsense, "it redirects to what is no URL"))?;
        match (self.base.scheme(), url.scheme()) {
            (_, "https") | ("http", "http") => Ok(url),
            _ => {
                let said = format!("it redirects to {}://{}", url.scheme(), url.host_str().unwrap_or_default());
                Err(self.error(asked, Trouble::Untrusted, said))
            }
        }
    }

    /// A login page or a proxy answers everything with HTML, and a registry nothing.
    fn answered(&self, asked: &Asked, response: Response) -> Result<Response, StoreError> {
        let kind = response.headers().get(CONTENT_TYPE).and_then(|t| t.to_str().ok()).unwrap_or_default();
        match response.status() == StatusCode::OK && kind.starts_with("text/html") {
            true => Err(self.error(asked, Trouble::WebPage, "a page of HTML with status 200")),
            false => Ok(response),
        }
    }

    /// The error of a request that got no answer, or not all of it.
    pub(super) fn broken(&self, asked: &Asked, e: reqwest::Error) -> StoreError {
        // URLs of uploads and redirects hold signatures.
        let e = e.without_url();
        self.error(asked, http::trouble_of(&e), http::root_cause(&e))
    }

    /// What an answer says that is no success.
    pub(super) async fn refusal(&self, mut response: Response) -> Refusal {
        let body = http::first_bytes(&mut response, http::REFUSAL_MAX).await;
        let signed = self.is_here(response.url()) && self.auth.has_login().await;
        Refusal::new(response.status(), response.headers(), &body, signed)
    }

    /// The error for an answer that is no success.
    pub(super) async fn refused(&self, asked: &Asked, response: Response) -> StoreError {
        let refusal = self.refusal(response).await;
        self.error(asked, refusal.trouble(), refusal.said)
    }

    /// The next piece of an answer, counted, not faster than is allowed.
    pub(super) async fn piece(&self, asked: &Asked, response: &mut Response) -> Result<Option<Bytes>, StoreError> {
        let piece = response.chunk().await.map_err(|e| self.broken(asked, e))?;
        if let Some(piece) = &piece {
            let wait = self.meter.down.pass(piece.len() as u64);
            if wait > Duration::ZERO {
                tokio::time::sleep(wait).await;
            }
        }
        Ok(piece)
    }

    /// A whole small answer.
    pub(super) async fn body(&self, asked: &Asked, mut response: Response) -> Result<Vec<u8>, StoreError> {
        let mut out = Vec::new();
        while let Some(piece) = self.piece(asked, &mut response).await? {
            out.extend_from_slice(&piece[..piece.len().min(BODY_MAX + 1 - out.len().min(BODY_MAX))]);
            if out.len() > BODY_MAX {
                return Err(self.error(asked, Trouble::Nonsense, "its answer does not end"));
            }
        }
        Ok(out)
    }

    /// All tags, sorted; none if the repository does not exist.
    pub(super) async fn tags(&self, asked: &Asked) -> Result<Vec<String>, StoreError> {
        #[derive(serde::Deserialize)]
        struct Page {
            tags: Option<Vec<String>>,
        }
        let nonsense = |said: &str| self.error(asked, Trouble::Nonsense, said);
        let (mut out, mut next) = (Vec::new(), Some(self.url(&format!("tags/list?{TAGS}"))));
        for page in 0..PAGES_MAX {
            let Some(url) = next else {
                out.sort_unstable();
                out.dedup();
                return Ok(out);
            };
            let response = self.send(asked, Method::GET, &url, |r| r).await?;
            match response.status() {
                StatusCode::OK => {}
                StatusCode::NOT_FOUND if page == 0 => return Ok(Vec::new()),
                StatusCode::NOT_FOUND => {
                    return Err(self.error(asked, Trouble::Unreachable, "a page of its tags is missing"));
                }
                _ => return Err(self.refused(asked, response).await),
            }
            let links: Vec<&str> = response.headers().get_all(LINK).iter().filter_map(|l| l.to_str().ok()).collect();
            next = match links.iter().find_map(|l| next_link(l)) {
                None => None,
                Some(link) => Some(self.resolve(&url, link).ok_or_else(|| nonsense("its next page is no URL"))?),
            };
            let body = self.body(asked, response).await?;
            let page: Page = serde_json::from_slice(&body).map_err(|e| nonsense(&format!("list of tags: {e}")))?;
            out.extend(page.tags.unwrap_or_default());
            if out.len() > ENTRIES_MAX {
                break;
            }
        }
        Err(nonsense("its list of tags does not end"))
    }
}

/// The target of `<target>; rel="next"`.
fn next_link(header: &str) -> Option<&str> {
    header.split(',').find_map(|link| {
        let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
        let is_next = |p: &str| {
            let (name, value) = p.split_once('=').unwrap_or((p, ""));
            name.trim().eq_ignore_ascii_case("rel") && value.trim().trim_matches('"').eq_ignore_ascii_case("next")
        };
        parameters.split(';').any(is_next).then_some(target)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_to_the_next_page() {
        assert_eq!(next_link("</v2/a/tags/list?last=x&n=9>; rel=\"next\""), Some("/v2/a/tags/list?last=x&n=9"));
        assert_eq!(next_link("<a>; rel=prev, <b>;title=x; rel=next"), Some("b"));
        assert_eq!(next_link("<a>; rel=\"last\""), None);
        assert_eq!(next_link("nonsense"), None);
    }
}
