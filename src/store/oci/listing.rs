//! Directory listings of a registry, which has no directories: computed from the tags, and from
//! manifests if a tag does not contain the key.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::task::JoinSet;

use super::manifest::Manifest;
use super::objects;
use super::registry::{Registry, RequestInfo};
use super::tag::{self, Tag};
use crate::store::{ListedKey, StoreError};
use crate::sys::io_error::IoError;

/// Limit on the manifests that are read at the same time.
const READS_MAX: usize = 8;
/// The directories of the gc log and of the lists that its entries name.
pub(super) const QUARANTINE: &str = "quarantine";
pub(super) const GC_LOG: &str = "quarantine/log";
pub(super) const PACK_LISTS: &str = "quarantine/lists";

/// The directories and keys that the hashes in tags stand for. A hash never changes its meaning, so
/// entries are never removed.
#[derive(Default)]
pub(super) struct HashMeanings(Mutex<HashMap<String, String>>);

impl HashMeanings {
    fn get(&self, hash: &str) -> Option<String> {
        self.0.lock().get(hash).cloned()
    }

    fn keep(&self, hash: &str, meaning: &str) {
        self.0.lock().insert(hash.to_owned(), meaning.to_owned());
    }
}

/// Tags, grouped by what it takes to find their keys.
#[derive(Default)]
struct SortedTags {
    keys: BTreeMap<String, u64>,
    /// Tags of manifests that list packs.
    pack_tags: Vec<String>,
    /// By the hash of a directory: the last component of each key, with its tag.
    in_dirs: BTreeMap<String, Vec<(String, String)>>,
    hashed: Vec<String>,
    /// Tags of entries of the gc log, whose manifests have the lists of packs.
    log_tags: Vec<String>,
}

impl SortedTags {
    fn new(tags: Vec<String>) -> Self {
        let mut out = Self::default();
        for text in tags {
            match Tag::parse(&text) {
                // Other programs may have stored tags in the same registry repository.
                None => {}
                Some(Tag::Segment { name, len }) => {
                    out.keys.insert(format!("index/{name}"), len);
                    out.pack_tags.push(text);
                }
                Some(Tag::Packs { .. }) => out.pack_tags.push(text),
                Some(Tag::Key(key)) => {
                    out.log_tags
                        .extend(is_below(&key, GC_LOG).then(|| text.clone()));
                    out.keys.insert(key, 0);
                }
                Some(Tag::InDir { dir, leaf }) => {
                    out.in_dirs.entry(dir).or_default().push((leaf, text))
                }
                Some(Tag::Hashed) => out.hashed.push(text),
            }
        }
        out
    }
}

/// Returns the keys below `dir` with their lengths; 0 for small objects. Unless `deep` is set, a
/// directory may represent all packs.
pub(super) async fn below(
    registry: &Arc<Registry>,
    info: &RequestInfo,
    known: &HashMeanings,
    dir: &str,
    deep: bool,
) -> Result<BTreeMap<String, u64>, StoreError> {
    let tags = registry.tags(info).await?;
    let SortedTags {
        mut keys,
        pack_tags,
        in_dirs,
        hashed,
        log_tags,
    } = SortedTags::new(tags);
    // The caller names the directory, so its hash needs no request.
    known.keep(&tag::dir_hash(dir), dir);
    resolve(registry, info, known, &in_dirs, &hashed).await?;
    for (hash, leaves) in in_dirs {
        if let Some(dir) = known.get(&hash) {
            keys.extend(leaves.into_iter().map(|(leaf, _)| (joined(&dir, &leaf), 0)));
        }
    }
    keys.extend(hashed.iter().filter_map(|tag| Some((known.get(tag)?, 0))));
    // Only manifests name packs, so listing packs costs one request per segment; other directories
    // need none.
    if dir == "packs" || is_below(dir, "packs") || (dir.is_empty() && deep) {
        for (_, manifest) in manifests(registry, info, pack_tags).await? {
            keys.extend(
                manifest
                    .packs()
                    .map(|(name, len)| (format!("packs/{}/{name}", &name[..2]), len)),
            );
        }
    } else if dir.is_empty() && !pack_tags.is_empty() {
        keys.insert("packs/".to_owned(), 0);
    }
    if dir == PACK_LISTS || deep && (dir.is_empty() || dir == QUARANTINE) {
        for (_, manifest) in manifests(registry, info, log_tags).await? {
            let lists = manifest.lists();
            keys.extend(lists.map(|(name, len)| (format!("{PACK_LISTS}/{name}"), len)));
        }
    } else if dir == QUARANTINE && !log_tags.is_empty() {
        keys.insert(format!("{PACK_LISTS}/"), 0);
    }
    keys.retain(|key, _| is_below(key, dir));
    Ok(keys)
}

/// Returns the first components below `dir` of keys that are all below `dir`.
pub(super) fn first_pieces(keys: &BTreeMap<String, u64>, dir: &str) -> Vec<ListedKey> {
    let mut out: BTreeMap<&str, (bool, u64)> = BTreeMap::new();
    for (key, len) in keys {
        let rest = if dir.is_empty() {
            key
        } else {
            key.get(dir.len() + 1..).unwrap_or_default()
        };
        match rest.split_once('/') {
            Some((name, _)) => out.insert(name, (true, 0)),
            None => out.insert(rest, (false, *len)),
        };
    }
    out.into_iter()
        .map(|(name, (is_dir, len))| ListedKey {
            name: name.to_owned(),
            is_dir,
            len,
        })
        .collect()
}

/// Returns whether a key is below a directory.
fn is_below(key: &str, dir: &str) -> bool {
    dir.is_empty()
        || key
            .strip_prefix(dir)
            .is_some_and(|rest| rest.starts_with('/'))
}

fn joined(dir: &str, leaf: &str) -> String {
    if dir.is_empty() {
        leaf.to_owned()
    } else {
        format!("{dir}/{leaf}")
    }
}

/// Resolves hashes by reading manifests. One manifest resolves the directory of all tags with its
/// hash; if that manifest was removed in the meantime, the next one is read.
async fn resolve(
    registry: &Arc<Registry>,
    info: &RequestInfo,
    known: &HashMeanings,
    in_dirs: &BTreeMap<String, Vec<(String, String)>>,
    hashed: &[String],
) -> Result<(), StoreError> {
    let mut unknown: Vec<String> = hashed
        .iter()
        .filter(|tag| known.get(tag).is_none())
        .cloned()
        .collect();
    for round in 0.. {
        let dirs = in_dirs.iter().filter(|(hash, _)| known.get(hash).is_none());
        unknown.extend(
            dirs.filter_map(|(_, leaves)| leaves.get(round))
                .map(|(_, tag)| tag.clone()),
        );
        if unknown.is_empty() {
            break;
        }
        for (text, manifest) in manifests(registry, info, std::mem::take(&mut unknown)).await? {
            // dvc did not create a manifest whose key does not match its tag.
            let Some(key) = manifest.key().filter(|key| tag::object(key) == text) else {
                continue;
            };
            match Tag::parse(&text) {
                Some(Tag::InDir { dir, .. }) => {
                    known.keep(&dir, key.rsplit_once('/').map_or("", |k| k.0))
                }
                _ => known.keep(&text, key),
            }
        }
    }
    Ok(())
}

/// Returns the manifests of many tags. Omits tags that no longer exist.
async fn manifests(
    registry: &Arc<Registry>,
    info: &RequestInfo,
    tags: Vec<String>,
) -> Result<Vec<(String, Manifest)>, StoreError> {
    let (mut tags, mut running, mut out) = (tags.into_iter(), JoinSet::new(), Vec::new());
    loop {
        while running.len() < READS_MAX
            && let Some(tag) = tags.next()
        {
            let (registry, info) = (Arc::clone(registry), info.clone());
            running.spawn(async move {
                let manifest = objects::read(&registry, &info, &tag).await;
                manifest.map(|manifest| manifest.map(|manifest| (tag, manifest)))
            });
        }
        let Some(done) = running.join_next().await else {
            return Ok(out);
        };
        let failed = |e| IoError::new(info.what, &info.key, std::io::Error::other(e));
        out.extend(done.map_err(failed)??);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_made_of_keys() {
        let keys: BTreeMap<String, u64> = [
            "format",
            "index/aa",
            "refs/heads/a/1",
            "refs/heads/a/2",
            "refs/heads/ab/1",
            "packs/",
        ]
        .map(|k| (k.to_owned(), 7))
        .into();
        let list = |dir: &str| {
            let inside = keys
                .iter()
                .filter(|(k, _)| is_below(k, dir))
                .map(|(k, l)| (k.clone(), *l))
                .collect();
            first_pieces(&inside, dir)
        };
        let folder = |name: &str| ListedKey {
            name: name.to_owned(),
            is_dir: true,
            len: 0,
        };
        let object = |name: &str| ListedKey {
            name: name.to_owned(),
            is_dir: false,
            len: 7,
        };
        assert_eq!(
            list(""),
            [
                object("format"),
                folder("index"),
                folder("packs"),
                folder("refs")
            ]
        );
        assert_eq!(list("refs/heads"), [folder("a"), folder("ab")]);
        assert_eq!(list("refs/heads/a"), [object("1"), object("2")]);
        assert_eq!(list("index"), [object("aa")]);
        assert_eq!(list("ref"), []);
        assert_eq!(list("format"), []);
    }
}
