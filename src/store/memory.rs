//! A store in memory, for tests and as the simplest implementation of the trait.

use std::collections::BTreeMap;
use std::path::Path;

use parking_lot::{Mutex, MutexGuard};

use super::{Abilities, ListedKey, Store, StoreError};
use crate::sys::io_error::IoError;

/// A store in memory.
#[derive(Debug, Default)]
pub struct MemoryStore(Mutex<BTreeMap<String, Vec<u8>>>);

impl MemoryStore {
    fn objects(&self) -> MutexGuard<'_, BTreeMap<String, Vec<u8>>> {
        self.0.lock()
    }

    /// Stores an object even if the key exists, so that tests can damage objects.
    pub fn overwrite(&self, key: &str, bytes: Vec<u8>) {
        self.objects().insert(key.to_owned(), bytes);
    }
}

impl Store for MemoryStore {
    fn abilities(&self) -> Abilities {
        Abilities::LOCAL
    }

    fn place(&self) -> String {
        "memory".to_owned()
    }

    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.objects().get(key).cloned())
    }

    fn read_at(&self, key: &str, offset: u64, len: usize) -> Result<Vec<u8>, StoreError> {
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let objects = self.objects();
        let range = objects
            .get(key)
            .and_then(|bytes| bytes.get(from..from.saturating_add(len)));
        range
            .map(<[u8]>::to_vec)
            .ok_or_else(|| StoreError::Missing {
                key: key.to_owned(),
            })
    }

    fn len(&self, key: &str) -> Result<Option<u64>, StoreError> {
        Ok(self.objects().get(key).map(|bytes| bytes.len() as u64))
    }

    fn create(&self, key: &str, bytes: &[u8]) -> Result<bool, StoreError> {
        let mut objects = self.objects();
        let free = !objects.contains_key(key);
        if free {
            objects.insert(key.to_owned(), bytes.to_vec());
        }
        Ok(free)
    }

    fn put(&self, file: &Path, key: &str) -> Result<(), StoreError> {
        let bytes = std::fs::read(file);
        let bytes = bytes.map_err(|source| IoError::new("read", key, source))?;
        self.objects().insert(key.to_owned(), bytes);
        Ok(())
    }

    fn list(&self, dir: &str) -> Result<Vec<ListedKey>, StoreError> {
        let prefix = if dir.is_empty() {
            String::new()
        } else {
            format!("{dir}/")
        };
        let mut out: Vec<ListedKey> = Vec::new();
        for (key, bytes) in self
            .objects()
            .range(prefix.clone()..)
            .take_while(|(key, _)| key.starts_with(&prefix))
        {
            let rest = &key[prefix.len()..];
            let (name, is_dir) = rest
                .split_once('/')
                .map_or((rest, false), |(name, _)| (name, true));
            // The keys of one directory are adjacent, because they share a prefix and the map is
            // sorted.
            if out.last().is_none_or(|last| last.name != name) {
                out.push(ListedKey {
                    name: name.to_owned(),
                    is_dir,
                    len: if is_dir { 0 } else { bytes.len() as u64 },
                });
            }
        }
        out.sort();
        Ok(out)
    }

    fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.objects().remove(key);
        Ok(())
    }
}
