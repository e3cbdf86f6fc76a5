//! Google Cloud Storage in memory: the JSON API with simple, two-part and resumable uploads, the
//! XML API for multipart uploads, and generations, so that of concurrent writes with
//! `ifGenerationMatch=0` exactly one succeeds.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use serde_json::{Value, json};

use super::http::{Reply, Request, Serving, decoded, serve};
use super::objects::{Listing, Object, Objects, http_date, iso_date, named_parts};

/// Minimum length of a part, except for the last one, in bytes.
const PART_MIN: usize = 5 << 20;

/// A running server.
pub struct Gcs {
    shared: Arc<Shared>,
    serving: Serving,
}

struct Shared {
    bucket: String,
    objects: Mutex<Objects>,
    sessions: Mutex<BTreeMap<String, Session>>,
    page: Mutex<usize>,
    log: Mutex<Vec<String>>,
}

/// A resumable upload.
struct Session {
    name: String,
    only_new: bool,
    bytes: Vec<u8>,
    done: Option<Object>,
}

impl Gcs {
    /// Starts a server with the empty bucket `bucket`.
    pub fn start() -> Self {
        let shared = Arc::new(Shared {
            bucket: "bucket".to_owned(),
            objects: Mutex::default(),
            sessions: Mutex::default(),
            page: Mutex::new(1000),
            log: Mutex::default(),
        });
        let answering = Arc::clone(&shared);
        Self {
            shared,
            serving: serve(move |request| {
                let now = http_date(jiff::Timestamp::now(), 0);
                answering.answer(request).header("Date", now)
            }),
        }
    }

    /// Returns the port.
    pub const fn port(&self) -> u16 {
        self.serving.port()
    }

    /// Returns the base URL of the server, for `endpoint=` in a remote URL.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port())
    }

    /// Returns the URL of a remote for `dvc`. No credentials are needed.
    pub fn url(&self, prefix: &str) -> String {
        format!(
            "gs://{}/{prefix}?endpoint={}&anonymous=1",
            self.shared.bucket,
            self.endpoint()
        )
    }

    /// Sets the maximum number of entries per page of a listing.
    pub fn set_page(&self, entries: usize) {
        *self.shared.page.lock().unwrap() = entries;
    }

    /// Returns `METHOD target` of every request, in order.
    pub fn requests(&self) -> Vec<String> {
        self.shared.log.lock().unwrap().clone()
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

    /// Returns the bytes of an object. `None` if it does not exist.
    pub fn object(&self, name: &str) -> Option<Vec<u8>> {
        self.shared
            .objects
            .lock()
            .unwrap()
            .all
            .get(name)
            .map(|o| o.bytes.to_vec())
    }

    /// Changes a stored object directly, without an HTTP request.
    #[track_caller]
    pub fn damage(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut objects = self.shared.objects.lock().unwrap();
        let object = objects
            .all
            .get_mut(name)
            .unwrap_or_else(|| panic!("no object `{name}`"));
        let mut bytes = object.bytes.to_vec();
        change(&mut bytes);
        object.bytes = bytes.into();
    }
}

fn said(status: u16, value: &Value) -> Reply {
    Reply::with(status, value.to_string()).header("Content-Type", "application/json; charset=UTF-8")
}

fn error(status: u16, reason: &str) -> Reply {
    let detail = json!({"domain": "global", "reason": reason, "message": reason});
    said(
        status,
        &json!({"error": {"code": status, "message": reason, "errors": [detail]}}),
    )
}

/// Returns the response of the real service for a missing bucket.
fn no_bucket() -> Reply {
    error(404, "The specified bucket does not exist.")
}

fn xml(name: &str, inner: &str) -> Reply {
    Reply::with(
        200,
        format!("<?xml version='1.0' encoding='UTF-8'?><{name}>{inner}</{name}>"),
    )
    .header("Content-Type", "application/xml")
}

fn xml_error(status: u16, code: &str) -> Reply {
    Reply {
        status,
        ..xml("Error", &format!("<Code>{code}</Code>"))
    }
}

fn resource(name: &str, object: &Object) -> Value {
    json!({
        "kind": "storage#object",
        "name": name,
        "size": object.bytes.len().to_string(),
        "generation": object.generation.to_string(),
        "metageneration": "1",
        "etag": object.etag,
        "contentType": "application/octet-stream",
        "updated": iso_date(object.stored, 0),
        "timeCreated": iso_date(object.stored, 0),
    })
}

/// Returns the error response if the object does not fulfil the request's condition on its
/// generation.
fn unmet(request: &Request, there: Option<&Object>) -> Option<Reply> {
    let wanted: u64 = request.argument("ifGenerationMatch")?.parse().ok()?;
    (there.map_or(0, |o| o.generation) != wanted).then(|| error(412, "conditionNotMet"))
}

impl Shared {
    fn answer(&self, request: &Request) -> Reply {
        let query: Vec<String> = request
            .query
            .iter()
            .map(|(n, v)| format!("{n}={v}"))
            .collect();
        self.log.lock().unwrap().push(format!(
            "{} {}?{}",
            request.method,
            request.path,
            query.join("&")
        ));
        // An object name in the path has encoded slashes, so split the path before decoding it.
        let raw: Vec<&str> = request
            .raw_path
            .trim_start_matches('/')
            .split('/')
            .collect();
        match (request.method.as_str(), &raw[..]) {
            ("POST", ["batch", "storage", "v1"]) => self.batch(request),
            (_, ["upload", "storage", "v1", "b", bucket, "o"]) => match self.is_ours(bucket) {
                true => self.upload(request),
                false => no_bucket(),
            },
            ("GET", ["storage", "v1", "b", bucket]) if self.is_ours(bucket) => {
                said(200, &json!({"name": bucket}))
            }
            ("GET", ["storage", "v1", "b", bucket, "o"]) if self.is_ours(bucket) => {
                self.list(request)
            }
            (method, ["storage", "v1", "b", bucket, "o", name @ ..]) if self.is_ours(bucket) => {
                self.object(request, method, &decoded(&name.join("/")))
            }
            (_, ["storage", ..]) => no_bucket(),
            (_, [bucket, name @ ..]) if self.is_ours(bucket) => {
                self.in_parts(request, &decoded(&name.join("/")))
            }
            _ => xml_error(404, "NoSuchBucket"),
        }
    }

    fn is_ours(&self, bucket: &str) -> bool {
        decoded(bucket) == self.bucket
    }

    fn object(&self, request: &Request, method: &str, name: &str) -> Reply {
        let mut objects = self.objects.lock().unwrap();
        let Some(object) = objects.all.get(name).cloned() else {
            return error(404, "notFound");
        };
        match method {
            _ if unmet(request, Some(&object)).is_some() => error(412, "conditionNotMet"),
            "GET" if request.argument("alt") == Some("media") => request
                .range_of(&object.bytes)
                .header("x-goog-generation", object.generation.to_string())
                .header("ETag", format!("\"{}\"", object.etag)),
            "GET" => said(200, &resource(name, &object)),
            "DELETE" => {
                objects.all.remove(name);
                Reply::new(204)
            }
            _ => error(405, "methodNotAllowed"),
        }
    }

    fn upload(&self, request: &Request) -> Reply {
        if let Some(id) = request.argument("upload_id") {
            return self.resume(request, id);
        }
        let Some(name) = request.argument("name") else {
            return error(400, "required");
        };
        let mut objects = self.objects.lock().unwrap();
        if let Some(reply) = unmet(request, objects.all.get(name)) {
            return reply;
        }
        match request.argument("uploadType") {
            Some("media") => {
                let object = objects.put(name, request.body.clone());
                said(200, &resource(name, &object))
            }
            Some("multipart") => {
                let Some(bytes) = second_part(request) else {
                    return error(400, "badContent");
                };
                let object = objects.put(name, bytes);
                said(200, &resource(name, &object))
            }
            Some("resumable") => {
                let id = objects.begin(name);
                objects.abort(&id);
                let only_new = request.argument("ifGenerationMatch") == Some("0");
                let session = Session {
                    name: name.to_owned(),
                    only_new,
                    bytes: Vec::new(),
                    done: None,
                };
                // Release the lock first, because `resume` takes the two locks in the opposite
                // order.
                drop(objects);
                self.sessions.lock().unwrap().insert(id.clone(), session);
                let host = request.header("host").unwrap_or_default();
                let path = format!(
                    "http://{host}{}?uploadType=resumable&upload_id={id}",
                    request.raw_path
                );
                Reply::new(200).header("Location", path)
            }
            _ => error(400, "invalid"),
        }
    }

    /// Receives a piece of a resumable upload, or reports how many bytes have arrived.
    fn resume(&self, request: &Request, id: &str) -> Reply {
        let mut sessions = self.sessions.lock().unwrap();
        if request.method == "DELETE" {
            return Reply::new(if sessions.remove(id).is_some() {
                499
            } else {
                404
            });
        }
        let Some(session) = sessions.get_mut(id) else {
            return error(404, "notFound");
        };
        if let Some(object) = &session.done {
            return said(200, &resource(&session.name, object));
        }
        let range = request
            .header("content-range")
            .and_then(|r| r.strip_prefix("bytes "))
            .unwrap_or("*/*");
        let (piece, total) = range.split_once('/').unwrap_or_default();
        if let Some((first, _)) = piece.split_once('-') {
            let first: usize = first.parse().unwrap_or(usize::MAX);
            if first > session.bytes.len() {
                return error(400, "badContent");
            }
            session.bytes.truncate(first);
            session.bytes.extend_from_slice(&request.body);
        } else if request.header("content-range").is_none() {
            session.bytes = request.body.to_vec();
        }
        let has_all =
            total.parse() == Ok(session.bytes.len()) || request.header("content-range").is_none();
        if !has_all {
            let reply = Reply::new(308);
            return match session.bytes.len() {
                0 => reply,
                len => reply.header("Range", format!("bytes=0-{}", len - 1)),
            };
        }
        let mut objects = self.objects.lock().unwrap();
        // Another writer may have created the object since the session began.
        if session.only_new && objects.all.contains_key(&session.name) {
            return error(412, "conditionNotMet");
        }
        let object = objects.put(
            &session.name,
            Bytes::from(std::mem::take(&mut session.bytes)),
        );
        session.done = Some(object.clone());
        said(200, &resource(&session.name, &object))
    }

    /// Handles the part of the XML API that uploads use: a whole object, or many parts.
    fn in_parts(&self, request: &Request, name: &str) -> Reply {
        let mut objects = self.objects.lock().unwrap();
        let id = request.argument("uploadId");
        match (request.method.as_str(), id) {
            ("POST", None) if request.argument("uploads").is_some() => {
                let id = objects.begin(name);
                xml(
                    "InitiateMultipartUploadResult",
                    &format!("<UploadId>{id}</UploadId>"),
                )
            }
            ("PUT", None) => {
                let object = objects.put(name, request.body.clone());
                Reply::new(200).header("ETag", format!("\"{}\"", object.etag))
            }
            ("PUT", Some(id)) => {
                let number = request
                    .argument("partNumber")
                    .and_then(|n| n.parse().ok())
                    .unwrap_or(0);
                match objects.put_part(id, number, request.body.clone()) {
                    Some(etag) => Reply::new(200).header("ETag", format!("\"{etag}\"")),
                    None => xml_error(404, "NoSuchUpload"),
                }
            }
            ("POST", Some(id)) => {
                let named = named_parts(&String::from_utf8_lossy(&request.body));
                match objects.joined(id, &named, PART_MIN) {
                    Ok(bytes) => {
                        objects.abort(id);
                        let object = objects.put(name, bytes);
                        let inner = format!("<ETag>&quot;{}&quot;</ETag>", object.etag);
                        xml("CompleteMultipartUploadResult", &inner)
                            .header("ETag", format!("\"{}\"", object.etag))
                            .header("x-goog-generation", object.generation.to_string())
                    }
                    Err(code) => xml_error(if code == "NoSuchUpload" { 404 } else { 400 }, code),
                }
            }
            ("DELETE", Some(id)) if objects.abort(id) => Reply::new(204),
            ("DELETE", Some(_)) => xml_error(404, "NoSuchUpload"),
            _ => xml_error(400, "InvalidArgument"),
        }
    }

    /// Handles several deletions in one request, each with its own response.
    fn batch(&self, request: &Request) -> Reply {
        let body = String::from_utf8_lossy(&request.body);
        let mut out = String::new();
        for (n, line) in body
            .lines()
            .filter(|l| l.starts_with("DELETE "))
            .enumerate()
        {
            let path = line
                .split(' ')
                .nth(1)
                .unwrap_or_default()
                .split('?')
                .next()
                .unwrap_or_default();
            let path = path.find("/storage/v1/b/").map_or("", |at| &path[at..]);
            let name = path.split("/o/").nth(1).map(decoded).unwrap_or_default();
            let gone = self.objects.lock().unwrap().all.remove(&name).is_some();
            let status = if gone {
                "204 No Content"
            } else {
                "404 Not Found"
            };
            out.push_str(&format!(
                "--batch\r\nContent-Type: application/http\r\nContent-ID: response-{n}\r\n\r\n"
            ));
            out.push_str(&format!(
                "HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n\r\n"
            ));
        }
        out.push_str("--batch--\r\n");
        Reply::with(200, out).header("Content-Type", "multipart/mixed; boundary=batch")
    }

    fn list(&self, request: &Request) -> Reply {
        let argument = |name| request.argument(name).unwrap_or_default();
        let max: usize = argument("maxResults").parse().unwrap_or(1000);
        let page = self.objects.lock().unwrap().list(&Listing {
            prefix: argument("prefix"),
            delimiter: argument("delimiter"),
            after: argument("pageToken"),
            max: max.min(*self.page.lock().unwrap()),
        });
        let start = argument("startOffset");
        let items: Vec<Value> = page
            .objects
            .iter()
            .filter(|(name, _)| name.as_str() >= start)
            .map(|(n, o)| resource(n, o))
            .collect();
        let mut value =
            json!({"kind": "storage#objects", "items": items, "prefixes": page.prefixes});
        if let Some(next) = page.next {
            value["nextPageToken"] = Value::String(next);
        }
        said(200, &value)
    }
}

/// Returns the second part of a `multipart/related` body, which contains the object.
fn second_part(request: &Request) -> Option<Bytes> {
    let kind = request.header("content-type")?;
    let boundary = format!(
        "--{}",
        kind.split("boundary=")
            .nth(1)?
            .split(';')
            .next()?
            .trim_matches('"')
    );
    let find = |what: &[u8], from: usize| {
        let at = request.body[from..]
            .windows(what.len())
            .position(|w| w == what)?;
        Some(from + at)
    };
    let first = find(boundary.as_bytes(), 0)?;
    let second = find(format!("\r\n{boundary}").as_bytes(), first + boundary.len())?;
    let begin = find(b"\r\n\r\n", second + 2)? + 4;
    let end = find(format!("\r\n{boundary}").as_bytes(), begin)?;
    Some(request.body.slice(begin..end))
}
