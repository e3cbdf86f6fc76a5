//! A bucket in memory, which the fake S3 and Google servers share: objects, paged listings, and
//! multipart uploads.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;
use jiff::{Timestamp, ToSpan};

/// One object.
#[derive(Clone)]
pub struct Object {
    pub bytes: Bytes,
    /// The ETag, without quotes.
    pub etag: String,
    /// A number that grows with every write to the bucket.
    pub generation: u64,
    pub stored: Timestamp,
}

/// Objects by key, and unfinished uploads.
#[derive(Default)]
pub struct Objects {
    pub all: BTreeMap<String, Object>,
    uploads: BTreeMap<String, Upload>,
    last: u64,
}

struct Upload {
    key: String,
    parts: BTreeMap<u32, (String, Bytes)>,
}

/// A page of a listing.
#[derive(Default)]
pub struct Page {
    pub objects: Vec<(String, Object)>,
    pub prefixes: Vec<String>,
    /// The key after which the next page starts; `None` on the last page.
    pub next: Option<String>,
}

/// The arguments of a listing, as in the APIs of S3 and Google.
pub struct Listing<'a> {
    pub prefix: &'a str,
    pub delimiter: &'a str,
    pub after: &'a str,
    pub max: usize,
}

/// Counters of requests and of the bytes of their bodies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    pub requests: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
}

/// Formats a time for an HTTP header, shifted by `seconds`.
pub fn http_date(at: Timestamp, seconds: i64) -> String {
    at.checked_add(seconds.seconds())
        .unwrap()
        .strftime("%a, %d %b %Y %H:%M:%S GMT")
        .to_string()
}

/// Formats a time for XML and JSON, shifted by `seconds`.
pub fn iso_date(at: Timestamp, seconds: i64) -> String {
    at.checked_add(seconds.seconds())
        .unwrap()
        .strftime("%Y-%m-%dT%H:%M:%S.000Z")
        .to_string()
}

/// Returns the text of every element with this name, for XML without attributes.
pub fn elements(xml: &str, name: &str) -> Vec<String> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let inner = |piece: &str| piece.split(&close).next().unwrap_or_default().to_owned();
    xml.split(&open).skip(1).map(inner).collect()
}

/// Escapes text for XML.
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// Unescapes text from XML.
pub fn unescaped(text: &str) -> String {
    text.replace("&quot;", "\"")
        .replace("&apos;", "'")
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&amp;", "&")
}

/// Returns the numbers and ETags of the parts that a request to complete an upload lists.
pub fn named_parts(xml: &str) -> Vec<(u32, String)> {
    let one = |part: String| {
        let number = elements(&part, "PartNumber")
            .first()
            .and_then(|n| n.parse().ok())
            .unwrap_or(0);
        let etag = elements(&part, "ETag")
            .first()
            .map(|e| unescaped(e))
            .unwrap_or_default();
        (number, etag.trim_matches('"').to_owned())
    };
    elements(xml, "Part").into_iter().map(one).collect()
}

fn etag_of(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex()[..32].to_owned()
}

impl Objects {
    /// Stores an object, replacing an existing one.
    pub fn put(&mut self, key: &str, bytes: Bytes) -> Object {
        self.last += 1;
        let object = Object {
            etag: etag_of(&bytes),
            generation: self.last,
            stored: Timestamp::now(),
            bytes,
        };
        self.all.insert(key.to_owned(), object.clone());
        object
    }

    /// Returns the total size of all objects and uploaded parts, in bytes.
    pub fn stored_bytes(&self) -> u64 {
        let parts = self
            .uploads
            .values()
            .flat_map(|u| u.parts.values().map(|p| p.1.len() as u64));
        self.all
            .values()
            .map(|o| o.bytes.len() as u64)
            .chain(parts)
            .sum()
    }

    /// Returns one page of the keys, in order.
    pub fn list(&self, what: &Listing<'_>) -> Page {
        let mut page = Page::default();
        let mut last = what.after.to_owned();
        // The previous page may have ended with a common prefix; skip its remaining keys.
        let folder = !what.delimiter.is_empty()
            && last.len() > what.prefix.len()
            && last.ends_with(what.delimiter);
        let skipped = folder.then(|| last.clone());
        let from = if last.as_str() < what.prefix {
            Bound::Included(what.prefix)
        } else {
            Bound::Excluded(&*last)
        };
        let keys: Vec<&String> = self
            .all
            .range::<str, _>((from, Bound::Unbounded))
            .map(|(key, _)| key)
            .collect();
        for key in keys {
            let Some(below) = key.strip_prefix(what.prefix) else {
                break;
            };
            if skipped.as_ref().is_some_and(|s| key.starts_with(s)) {
                continue;
            }
            let cut = if what.delimiter.is_empty() {
                None
            } else {
                below.find(what.delimiter)
            };
            let name = cut.map(|at| &key[..what.prefix.len() + at + what.delimiter.len()]);
            if name.is_some() && page.prefixes.last().map(String::as_str) == name {
                continue;
            }
            if page.objects.len() + page.prefixes.len() == what.max {
                page.next = Some(last);
                break;
            }
            last = name.unwrap_or(key).to_owned();
            match name {
                Some(name) => page.prefixes.push(name.to_owned()),
                None => page.objects.push((key.clone(), self.all[key].clone())),
            }
        }
        page
    }

    /// Starts a multipart upload. Returns its id.
    pub fn begin(&mut self, key: &str) -> String {
        self.last += 1;
        let id = format!("upload-{}", self.last);
        self.uploads.insert(
            id.clone(),
            Upload {
                key: key.to_owned(),
                parts: BTreeMap::new(),
            },
        );
        id
    }

    /// Stores a part of an upload. Returns its ETag, or `None` if the upload is unknown.
    pub fn put_part(&mut self, id: &str, number: u32, bytes: Bytes) -> Option<String> {
        let etag = etag_of(&bytes);
        self.uploads
            .get_mut(id)?
            .parts
            .insert(number, (etag.clone(), bytes));
        Some(etag)
    }

    /// Joins the named parts, or returns an S3 error code. The caller then removes the upload with
    /// [`Self::abort`].
    pub fn joined(
        &self,
        id: &str,
        named: &[(u32, String)],
        part_min: usize,
    ) -> Result<Bytes, &'static str> {
        let upload = self.uploads.get(id).ok_or("NoSuchUpload")?;
        let mut bytes = Vec::new();
        for (n, (number, etag)) in named.iter().enumerate() {
            let (stored, part) = upload.parts.get(number).ok_or("InvalidPart")?;
            if stored != etag {
                return Err("InvalidPart");
            }
            if n > 0 && named[n - 1].0 >= *number {
                return Err("InvalidPartOrder");
            }
            if n + 1 < named.len() && part.len() < part_min {
                return Err("EntityTooSmall");
            }
            bytes.extend_from_slice(part);
        }
        if named.is_empty() {
            Err("MalformedXML")
        } else {
            Ok(bytes.into())
        }
    }

    /// Removes an upload and its parts. Returns whether it existed.
    pub fn abort(&mut self, id: &str) -> bool {
        self.uploads.remove(id).is_some()
    }

    /// Returns the keys of unfinished uploads.
    pub fn unfinished(&self) -> Vec<String> {
        self.uploads.values().map(|u| u.key.clone()).collect()
    }
}
