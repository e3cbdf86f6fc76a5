//! An in-memory S3 server that can misbehave. It has one bucket and uses path-style URLs.
//!
//! The server checks signatures, implements `If-None-Match: *` atomically unless configured
//! otherwise, lists in pages, joins the parts of uploads, and counts requests and bytes. A test can
//! change its [`Switches`] at any time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;

use super::http::{Reply, Request, Serving, serve};
use super::objects::{
    Listing, Object, Objects, Traffic, elements, escaped, http_date, iso_date, named_parts,
    unescaped,
};
use super::signing::claim;

/// Minimum length of a part, except for the last one, in bytes.
const PART_MIN: usize = 5 << 20;

/// How the server handles `If-None-Match: *`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conditions {
    /// Exactly one writer wins; the others get 412.
    Honest,
    /// The header is ignored, so the last writer wins.
    Ignored,
    /// The server checks the condition, waits, and then writes the object.
    CheckThenWrite(Duration),
}

/// The response to a write that exceeds the available space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// Status 507 without a body.
    Status507,
    /// Status 403 with the code `QuotaExceeded`.
    QuotaExceeded,
}

/// The server's behaviour.
#[derive(Clone, Debug)]
pub struct Switches {
    pub conditions: Conditions,
    /// Required key id and secret. `None` accepts any credentials.
    pub key: Option<(String, String)>,
    pub bucket_missing: bool,
    /// Available space in bytes, and the error for a write that exceeds it.
    pub full: Option<(u64, WhenFull)>,
    /// Offset of all reported times (`Date`, `Last-Modified`, listings), in seconds.
    pub clock_off_seconds: i64,
    /// Maximum number of entries per page of a listing.
    pub page: usize,
    /// Number of further requests that fail with 503 `SlowDown`.
    pub slow_down: u32,
    /// Whether the credentials may not delete objects whose keys contain this text.
    pub undeletable: Option<&'static str>,
}

impl Default for Switches {
    fn default() -> Self {
        Self {
            conditions: Conditions::Honest,
            key: None,
            bucket_missing: false,
            full: None,
            clock_off_seconds: 0,
            page: 1000,
            slow_down: 0,
            undeletable: None,
        }
    }
}

/// A running server.
pub struct S3 {
    shared: Arc<Shared>,
    serving: Serving,
}

struct Shared {
    bucket: String,
    objects: Mutex<Objects>,
    switches: Mutex<Switches>,
    traffic: Mutex<BTreeMap<String, Traffic>>,
    log: Mutex<Vec<String>>,
}

impl S3 {
    /// Starts a server with the empty bucket `bucket`.
    pub fn start(switches: Switches) -> Self {
        let shared = Arc::new(Shared {
            bucket: "bucket".to_owned(),
            objects: Mutex::default(),
            switches: Mutex::new(switches),
            traffic: Mutex::default(),
            log: Mutex::default(),
        });
        let answering = Arc::clone(&shared);
        Self {
            shared,
            serving: serve(move |request| answering.answer(request)),
        }
    }

    /// Returns the port.
    pub const fn port(&self) -> u16 {
        self.serving.port()
    }

    /// Returns the value of `endpoint=` in URLs.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port())
    }

    /// Returns the URL of a remote for `dvc`.
    pub fn url(&self, prefix: &str) -> String {
        format!(
            "s3://{}/{prefix}?endpoint={}",
            self.shared.bucket,
            self.endpoint()
        )
    }

    /// Returns credentials as environment variables: the required ones, or arbitrary ones if none
    /// are required.
    pub fn env(&self) -> Vec<(&'static str, String)> {
        let (id, secret) = self
            .switches()
            .key
            .unwrap_or_else(|| ("any".to_owned(), "any".to_owned()));
        vec![
            ("AWS_ACCESS_KEY_ID", id),
            ("AWS_SECRET_ACCESS_KEY", secret),
            ("AWS_REGION", "us-east-1".to_owned()),
        ]
    }

    /// Returns the current behaviour.
    pub fn switches(&self) -> Switches {
        self.shared.switches.lock().unwrap().clone()
    }

    /// Changes the behaviour.
    pub fn switch(&self, change: impl FnOnce(&mut Switches)) {
        change(&mut self.shared.switches.lock().unwrap());
    }

    /// Returns the number of requests and the bytes of their bodies for a method, since the start
    /// or the last [`S3::forget_traffic`].
    pub fn traffic(&self, method: &str) -> Traffic {
        self.shared
            .traffic
            .lock()
            .unwrap()
            .get(method)
            .copied()
            .unwrap_or_default()
    }

    /// Returns `METHOD key` of every request, in order; `LIST prefix` of a listing.
    pub fn requests(&self) -> Vec<String> {
        self.shared.log.lock().unwrap().clone()
    }

    /// Resets all counters and the log of requests.
    pub fn forget_traffic(&self) {
        self.shared.traffic.lock().unwrap().clear();
        self.shared.log.lock().unwrap().clear();
    }

    /// Returns all keys, in order.
    pub fn keys(&self) -> Vec<String> {
        self.shared
            .objects
            .lock()
            .unwrap()
            .all
            .keys()
            .cloned()
            .collect()
    }

    /// Returns the keys of unfinished uploads.
    pub fn unfinished(&self) -> Vec<String> {
        self.shared.objects.lock().unwrap().unfinished()
    }

    /// Returns the bytes of an object. `None` if it does not exist.
    pub fn object(&self, key: &str) -> Option<Vec<u8>> {
        self.shared
            .objects
            .lock()
            .unwrap()
            .all
            .get(key)
            .map(|o| o.bytes.to_vec())
    }

    /// Changes a stored object directly, without an HTTP request.
    #[track_caller]
    pub fn damage(&self, key: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut objects = self.shared.objects.lock().unwrap();
        let object = objects
            .all
            .get_mut(key)
            .unwrap_or_else(|| panic!("no object `{key}`"));
        let mut bytes = object.bytes.to_vec();
        change(&mut bytes);
        object.bytes = bytes.into();
    }

    /// Removes a stored object directly, without an HTTP request.
    pub fn lose(&self, key: &str) {
        assert!(
            self.shared
                .objects
                .lock()
                .unwrap()
                .all
                .remove(key)
                .is_some(),
            "no object `{key}`"
        );
    }
}

fn error(status: u16, code: &str) -> Reply {
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{code}</Message><RequestId>1</RequestId></Error>"
    );
    Reply::with(status, body).header("Content-Type", "application/xml")
}

fn xml(name: &str, inner: &str) -> Reply {
    let body = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<{name}>{inner}</{name}>");
    Reply::with(200, body).header("Content-Type", "application/xml")
}

impl Shared {
    fn answer(&self, request: &Request) -> Reply {
        let mut switches = self.switches.lock().unwrap();
        let slow = switches.slow_down > 0;
        switches.slow_down = switches.slow_down.saturating_sub(1);
        let switches = { switches }.clone();
        let key = request
            .path
            .trim_start_matches('/')
            .split_once('/')
            .map_or("", |(_, key)| key);
        let line = match request.argument("prefix") {
            Some(prefix) if key.is_empty() => format!("LIST {prefix}"),
            _ => format!("{} {key}", request.method),
        };
        self.log.lock().unwrap().push(line);
        let mut reply = match refusal(request, &switches) {
            _ if slow => error(503, "SlowDown"),
            Some(refusal) => refusal,
            None => self.route(request, &switches),
        };
        reply.headers.push((
            "Date".to_owned(),
            http_date(Timestamp::now(), switches.clock_off_seconds),
        ));
        let mut traffic = self.traffic.lock().unwrap();
        let count = traffic.entry(request.method.clone()).or_default();
        count.requests += 1;
        count.bytes_in += request.body.len() as u64;
        count.bytes_out += if request.method == "HEAD" {
            0
        } else {
            reply.body.len() as u64
        };
        reply
    }

    fn route(&self, request: &Request, switches: &Switches) -> Reply {
        let (bucket, key) = request
            .path
            .trim_start_matches('/')
            .split_once('/')
            .unwrap_or_default();
        let bucket = if bucket.is_empty() {
            request.path.trim_matches('/')
        } else {
            bucket
        };
        if switches.bucket_missing || bucket != self.bucket {
            return error(404, "NoSuchBucket");
        }
        let has = |name| request.argument(name).is_some();
        match (request.method.as_str(), key) {
            ("GET", "") => self.list(request, switches),
            ("HEAD", "") => Reply::new(200),
            ("POST", "") if has("delete") => self.delete_many(request, switches),
            ("POST", _) if has("uploads") => {
                let id = self.objects.lock().unwrap().begin(key);
                xml(
                    "InitiateMultipartUploadResult",
                    &format!("<UploadId>{id}</UploadId>"),
                )
            }
            ("POST", _) if has("uploadId") => self.complete(request, key, switches),
            ("PUT", _) if has("uploadId") => self.put_part(request, switches),
            ("PUT", _) => self.put(request, key, switches, request.body.clone()),
            ("DELETE", _) if switches.undeletable.is_some_and(|part| key.contains(part)) => {
                error(403, "AccessDenied")
            }
            ("DELETE", _) => {
                let mut objects = self.objects.lock().unwrap();
                match request.argument("uploadId") {
                    Some(id) if !objects.abort(id) => return error(404, "NoSuchUpload"),
                    Some(_) => {}
                    None => drop(objects.all.remove(key)),
                }
                Reply::new(204)
            }
            ("GET" | "HEAD", _) => {
                let Some(object) = self.objects.lock().unwrap().all.get(key).cloned() else {
                    return error(404, "NoSuchKey");
                };
                let reply = request.range_of(&object.bytes);
                if reply.status == 416 {
                    return error(416, "InvalidRange");
                }
                tagged(reply, &object)
                    .header(
                        "Last-Modified",
                        http_date(object.stored, switches.clock_off_seconds),
                    )
                    .header("Accept-Ranges", "bytes")
            }
            _ => error(405, "MethodNotAllowed"),
        }
    }

    /// Stores a whole object, if the condition and the available space allow it.
    fn put(&self, request: &Request, key: &str, switches: &Switches, bytes: Bytes) -> Reply {
        let conditional = request.header("if-none-match") == Some("*");
        let taken = |objects: &Objects| conditional && objects.all.contains_key(key);
        let mut objects = self.objects.lock().unwrap();
        match switches.conditions {
            Conditions::Ignored => {}
            Conditions::Honest | Conditions::CheckThenWrite(_) if taken(&objects) => {
                return error(412, "PreconditionFailed");
            }
            Conditions::CheckThenWrite(pause) => {
                drop(objects);
                std::thread::sleep(pause);
                objects = self.objects.lock().unwrap();
            }
            Conditions::Honest => {}
        }
        if let Some(reply) = no_room(&objects, bytes.len(), switches) {
            return reply;
        }
        let object = objects.put(key, bytes);
        tagged(Reply::new(200), &object)
    }

    fn put_part(&self, request: &Request, switches: &Switches) -> Reply {
        let mut objects = self.objects.lock().unwrap();
        if let Some(reply) = no_room(&objects, request.body.len(), switches) {
            return reply;
        }
        let number = request
            .argument("partNumber")
            .and_then(|n| n.parse().ok())
            .unwrap_or(0);
        let id = request.argument("uploadId").unwrap_or_default();
        match objects.put_part(id, number, request.body.clone()) {
            Some(etag) => Reply::new(200).header("ETag", format!("\"{etag}\"")),
            None => error(404, "NoSuchUpload"),
        }
    }

    fn complete(&self, request: &Request, key: &str, switches: &Switches) -> Reply {
        let id = request.argument("uploadId").unwrap_or_default();
        let named = named_parts(&String::from_utf8_lossy(&request.body));
        let joined = self.objects.lock().unwrap().joined(id, &named, PART_MIN);
        let bytes = match joined {
            Ok(bytes) => bytes,
            Err("NoSuchUpload") => return error(404, "NoSuchUpload"),
            Err(code) => return error(400, code),
        };
        // Ignore the space limit here, because the bytes were already counted as parts.
        let reply = self.put(
            request,
            key,
            &Switches {
                full: None,
                ..switches.clone()
            },
            bytes,
        );
        if reply.status != 200 {
            return reply;
        }
        self.objects.lock().unwrap().abort(id);
        let etag = reply
            .headers
            .iter()
            .find(|h| h.0 == "ETag")
            .map(|h| escaped(&h.1))
            .unwrap_or_default();
        let inner = format!(
            "<Bucket>{}</Bucket><Key>{}</Key><ETag>{etag}</ETag>",
            self.bucket,
            escaped(key)
        );
        xml("CompleteMultipartUploadResult", &inner)
    }

    fn delete_many(&self, request: &Request, switches: &Switches) -> Reply {
        let mut objects = self.objects.lock().unwrap();
        let mut refused = String::new();
        for key in elements(&String::from_utf8_lossy(&request.body), "Key") {
            if switches.undeletable.is_some_and(|part| key.contains(part)) {
                refused.push_str(&format!(
                    "<Error><Key>{key}</Key><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
                ));
            } else {
                objects.all.remove(&unescaped(&key));
            }
        }
        xml("DeleteResult", &refused)
    }

    fn list(&self, request: &Request, switches: &Switches) -> Reply {
        let argument = |name| request.argument(name).unwrap_or_default();
        let token = argument("continuation-token");
        let asked = argument("max-keys").parse().unwrap_or(1000);
        let page = self.objects.lock().unwrap().list(&Listing {
            prefix: argument("prefix"),
            delimiter: argument("delimiter"),
            after: if token.is_empty() {
                argument("start-after")
            } else {
                token
            },
            max: switches.page.min(asked),
        });
        let mut inner = format!(
            "<Name>{}</Name><Prefix>{}</Prefix>",
            self.bucket,
            escaped(argument("prefix"))
        );
        inner.push_str(&format!(
            "<KeyCount>{}</KeyCount>",
            page.objects.len() + page.prefixes.len()
        ));
        inner.push_str(&format!(
            "<IsTruncated>{}</IsTruncated>",
            page.next.is_some()
        ));
        if let Some(next) = &page.next {
            inner.push_str(&format!(
                "<NextContinuationToken>{}</NextContinuationToken>",
                escaped(next)
            ));
        }
        for (key, object) in &page.objects {
            let time = iso_date(object.stored, switches.clock_off_seconds);
            let (key, size, etag) = (escaped(key), object.bytes.len(), &object.etag);
            inner.push_str(&format!("<Contents><Key>{key}</Key><LastModified>{time}</LastModified><ETag>&quot;{etag}&quot;</ETag><Size>{size}</Size></Contents>"));
        }
        for prefix in &page.prefixes {
            inner.push_str(&format!(
                "<CommonPrefixes><Prefix>{}</Prefix></CommonPrefixes>",
                escaped(prefix)
            ));
        }
        xml("ListBucketResult", &inner)
    }
}

fn tagged(reply: Reply, object: &Object) -> Reply {
    reply.header("ETag", format!("\"{}\"", object.etag))
}

/// Returns the error response if the request's credentials are not the required ones.
fn refusal(request: &Request, switches: &Switches) -> Option<Reply> {
    let (id, secret) = switches.key.as_ref()?;
    match claim(request) {
        None => Some(error(403, "AccessDenied")),
        Some(claim) if claim.key_id != id => Some(error(403, "InvalidAccessKeyId")),
        Some(claim) if !claim.holds(request, secret) => Some(error(403, "SignatureDoesNotMatch")),
        Some(_) => None,
    }
}

fn no_room(objects: &Objects, more: usize, switches: &Switches) -> Option<Reply> {
    let (most, how) = switches.full?;
    if objects.stored_bytes() + more as u64 <= most {
        return None;
    }
    Some(match how {
        WhenFull::Status507 => Reply::new(507),
        WhenFull::QuotaExceeded => error(403, "QuotaExceeded"),
    })
}
