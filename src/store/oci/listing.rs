//! Folders, which a registry does not have: made of its tags, and of manifests where a tag does not say enough.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::task::JoinSet;

use super::manifest::Manifest;
use super::objects;
use super::registry::{Asked, Registry};
use super::tag::{self, Tag};
use crate::store::{Listed, StoreError};

/// Manifests that are read at the same time.
const AT_ONCE: usize = 8;

/// What hashes in tags mean, which never changes: folders and keys.
#[derive(Default)]
pub(super) struct Known(Mutex<HashMap<String, String>>);

impl Known {
    fn get(&self, hash: &str) -> Option<String> {
        self.0.lock().get(hash).cloned()
    }

    fn keep(&self, hash: &str, meaning: &str) {
        self.0.lock().insert(hash.to_owned(), meaning.to_owned());
    }
}

/// Tags, by what is to be done with them.
#[derive(Default)]
struct Sorted {
    keys: BTreeMap<String, u64>,
    /// Manifests that name packs.
    pack_tags: Vec<String>,
    /// By the hash of a folder: last pieces of keys, and their tags.
    in_dirs: BTreeMap<String, Vec<(String, String)>>,
    hashed: Vec<String>,
}

impl Sorted {
    fn new(tags: Vec<String>) -> Self {
        let mut out = Self::default();
        for text in tags {
            match Tag::parse(&text) {
                None => {}
                Some(Tag::Segment { name, len }) => {
                    out.keys.insert(format!("index/{name}"), len);
                    out.pack_tags.push(text);
                }
                Some(Tag::Packs { .. }) => out.pack_tags.push(text),
                Some(Tag::Key(key)) => drop(out.keys.insert(key, 0)),
                Some(Tag::InDir { dir, leaf }) => out.in_dirs.entry(dir).or_default().push((leaf, text)),
                Some(Tag::Hashed) => out.hashed.push(text),
            }
        }
        out
    }
}

/// What lies below `dir`: keys and lengths, as far as tags tell these; 0 for small objects. Where `deep` is not set, a
/// folder may stand for all packs.
pub(super) async fn below(
    registry: &Arc<Registry>,
    asked: &Asked,
    known: &Known,
    dir: &str,
    deep: bool,
) -> Result<BTreeMap<String, u64>, StoreError> {
    let tags = registry.tags(asked).await?;
    let Sorted { mut keys, pack_tags, in_dirs, hashed } = Sorted::new(tags);
    known.keep(&tag::dir_hash(dir), dir);
    resolve(registry, asked, known, &in_dirs, &hashed).await?;
    for (hash, leaves) in in_dirs {
        if let Some(dir) = known.get(&hash) {
            keys.extend(leaves.into_iter().map(|(leaf, _)| (joined(&dir, &leaf), 0)));
        }
    }
    keys.extend(hashed.iter().filter_map(|tag| Some((known.get(tag)?, 0))));
    if dir == "packs" || is_below(dir, "packs") || (dir.is_empty() && deep) {
        for (_, manifest) in manifests(registry, asked, pack_tags).await? {
            keys.extend(manifest.packs().map(|(name, len)| (format!("packs/{}/{name}", &name[..2]), len)));
        }
    } else if dir.is_empty() && !pack_tags.is_empty() {
        keys.insert("packs/".to_owned(), 0);
    }
    keys.retain(|key, _| is_below(key, dir));
    Ok(keys)
}

/// The first pieces below `dir` of keys that all lie there.
pub(super) fn first_pieces(keys: &BTreeMap<String, u64>, dir: &str) -> Vec<Listed> {
    let mut out: BTreeMap<&str, (bool, u64)> = BTreeMap::new();
    for (key, len) in keys {
        let rest = if dir.is_empty() { key } else { key.get(dir.len() + 1..).unwrap_or_default() };
        match rest.split_once('/') {
            Some((name, _)) => out.insert(name, (true, 0)),
            None => out.insert(rest, (false, *len)),
        };
    }
    out.into_iter().map(|(name, (is_dir, len))| Listed { name: name.to_owned(), is_dir, len }).collect()
}

/// Whether a key lies in a folder or somewhere below it.
fn is_below(key: &str, dir: &str) -> bool {
    dir.is_empty() || key.strip_prefix(dir).is_some_and(|rest| rest.starts_with('/'))
}

fn joined(dir: &str, leaf: &str) -> String {
    if dir.is_empty() { leaf.to_owned() } else { format!("{dir}/{leaf}") }
}

/// Finds out what hashes mean. One manifest tells the folder of all tags with its hash; one that was removed meanwhile
/// tells nothing, then the next is asked.
async fn resolve(
    registry: &Arc<Registry>,
    asked: &Asked,
    known: &Known,
    in_dirs: &BTreeMap<String, Vec<(String, String)>>,
    hashed: &[String],
) -> Result<(), StoreError> {
    let mut unknown: Vec<String> = hashed.iter().filter(|tag| known.get(tag).is_none()).cloned().collect();
    for round in 0.. {
        let dirs = in_dirs.iter().filter(|(hash, _)| known.get(hash).is_none());
        unknown.extend(dirs.filter_map(|(_, leaves)| leaves.get(round)).map(|(_, tag)| tag.clone()));
        if unknown.is_empty() {
            break;
        }
        for (text, manifest) in manifests(registry, asked, std::mem::take(&mut unknown)).await? {
            let Some(key) = manifest.key().filter(|key| tag::object(key) == text) else { continue };
            match Tag::parse(&text) {
                Some(Tag::InDir { dir, .. }) => known.keep(&dir, key.rsplit_once('/').map_or("", |k| k.0)),
                _ => known.keep(&text, key),
            }
        }
    }
    Ok(())
}

/// The manifests of many tags; those that are gone are left out.
async fn manifests(
    registry: &Arc<Registry>,
    asked: &Asked,
    tags: Vec<String>,
) -> Result<Vec<(String, Manifest)>, StoreError> {
    let (mut tags, mut running, mut out) = (tags.into_iter(), JoinSet::new(), Vec::new());
    loop {
        while running.len() < AT_ONCE
            && let Some(tag) = tags.next()
        {
            let (registry, asked) = (Arc::clone(registry), asked.clone());
            running.spawn(async move {
                let manifest = objects::read(&registry, &asked, &tag).await;
                manifest.map(|manifest| manifest.map(|manifest| (tag, manifest)))
            });
        }
        let Some(done) = running.join_next().await else { return Ok(out) };
        let failed = |e| StoreError::Io { what: asked.what, key: asked.key.clone(), source: std::io::Error::other(e) };
        out.extend(done.map_err(failed)??);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_made_of_keys() {
        let keys: BTreeMap<String, u64> =
            ["format", "index/aa", "refs/heads/a/1", "refs/heads/a/2", "refs/heads/ab/1", "packs/"]
                .map(|k| (k.to_owned(), 7))
                .into();
        let list = |dir: &str| {
            let inside = keys.iter().filter(|(k, _)| is_below(k, dir)).map(|(k, l)| (k.clone(), *l)).collect();
            first_pieces(&inside, dir)
        };
        let folder = |name: &str| Listed { name: name.to_owned(), is_dir: true, len: 0 };
        let object = |name: &str| Listed { name: name.to_owned(), is_dir: false, len: 7 };
        assert_eq!(list(""), [object("format"), folder("index"), folder("packs"), folder("refs")]);
        assert_eq!(list("refs/heads"), [folder("a"), folder("ab")]);
        assert_eq!(list("refs/heads/a"), [object("1"), object("2")]);
        assert_eq!(list("index"), [object("aa")]);
        assert_eq!(list("ref"), []);
        assert_eq!(list("format"), []);
    }
}
