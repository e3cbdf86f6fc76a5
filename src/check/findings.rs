//! The findings of a running check, collected by several threads.
//!
//! Damage is reported immediately, one line for each damaged object up to [`OBJECTS_REPORTED`]. An
//! object is known as lost or remote by the first eight bytes of its id.

use std::collections::{BTreeMap, HashSet};

use parking_lot::{Mutex, MutexGuard};

use super::report::{Damage, DamagedPack, Lost, StoredObject, What};
use crate::error::{Error, Kind, is_disk_failure};
use crate::format::segment::PackName;
use crate::model::id::{Id, ObjectKind};
use crate::model::text::count;
use crate::observe::{Notice, NoticeLevel, Observer};
use crate::repo::layout;

/// Limit on the damaged objects that are reported one by one.
const OBJECTS_REPORTED: usize = 20;
/// Limit on the damaged objects in the report.
const OBJECTS_KEPT: usize = 1000;

/// Collects the findings of all threads, and reports them to the observer.
pub(super) struct Findings<'a> {
    observer: &'a dyn Observer,
    found: Mutex<Found>,
}

/// All findings of a check.
#[derive(Default)]
pub(super) struct Found {
    pub(super) damage: Vec<Damage>,
    pub(super) notes: Vec<String>,
    pub(super) objects: usize,
    pub(super) lost: Lost,
    /// The lost objects.
    pub(super) lost_objects: Vec<StoredObject>,
    /// The damaged packs.
    pub(super) packs: Vec<DamagedPack>,
    lost_ids: HashSet<u64>,
    /// Objects that a lazy clone does not have, because they are on its remote.
    remote: HashSet<u64>,
    /// Packs to read as a whole, with their damage if it is already known.
    suspects: BTreeMap<PackName, Option<String>>,
}

impl<'a> Findings<'a> {
    pub(super) fn new(observer: &'a dyn Observer) -> Self {
        Self {
            observer,
            found: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Found> {
        self.found.lock()
    }

    fn notify(&self, level: NoticeLevel, message: String) {
        self.observer.notice(Notice {
            level,
            path: Vec::new(),
            message,
        });
    }

    /// Records and reports damage. Of damaged objects, only the first ones are reported
    /// ([`OBJECTS_REPORTED`]) and recorded ([`OBJECTS_KEPT`]).
    pub(super) fn damage(&self, what: What, key: impl Into<String>, why: impl Into<String>) {
        let damage = Damage {
            what,
            key: key.into(),
            why: why.into(),
        };
        let line = format!("{} `{}`: {}", what.name(), damage.key, damage.why);
        let mut found = self.lock();
        if what == What::Object {
            found.objects += 1;
            // Damage beyond the limit is counted only, so that a repository without any intact pack
            // does not use up the memory.
            if found.objects > OBJECTS_KEPT {
                return;
            }
        }
        let quiet = what == What::Object && found.objects > OBJECTS_REPORTED;
        found.damage.push(damage);
        // The observer may print, so it is called without the lock.
        drop(found);
        if !quiet {
            self.notify(NoticeLevel::Damage, line);
        }
    }

    /// Records and reports a note, which does not count as damage.
    pub(super) fn note(&self, text: String) {
        self.lock().notes.push(text.clone());
        self.notify(NoticeLevel::Info, text);
    }

    /// Records a lost object. Returns false if it was already recorded as lost.
    pub(super) fn lose(&self, kind: ObjectKind, id: &Id) -> bool {
        let mut found = self.lock();
        // Several threads and packs may report the same object, but each object counts once.
        let new = found.lost_ids.insert(id.prefix());
        if new {
            found.lost_objects.push(StoredObject { kind, id: *id });
            *match kind {
                ObjectKind::Chunk => &mut found.lost.chunks,
                ObjectKind::List => &mut found.lost.lists,
                ObjectKind::Tree => &mut found.lost.trees,
                ObjectKind::Commit => &mut found.lost.commits,
            } += 1;
        }
        new
    }

    /// Returns whether an object was recorded as lost.
    pub(super) fn is_lost(&self, id: &Id) -> bool {
        self.lock().lost_ids.contains(&id.prefix())
    }

    /// Records an object that a lazy clone lacks. The remote has the object, or may have it if the
    /// remote does not respond.
    pub(super) fn add_remote(&self, id: &Id) {
        self.lock().remote.insert(id.prefix());
    }

    /// Returns whether an object was recorded as only on the remote.
    pub(super) fn is_remote(&self, id: &Id) -> bool {
        self.lock().remote.contains(&id.prefix())
    }

    /// Returns the number of objects that were recorded as only on the remote.
    pub(super) fn count_remote(&self) -> usize {
        self.lock().remote.len()
    }

    /// Returns whether any object is lost.
    pub(super) fn any_lost(&self) -> bool {
        !self.lock().lost_ids.is_empty()
    }

    /// If objects are lost but no damage was reported, reports the loss.
    pub(super) fn report_unexplained(&self) {
        let found = self.lock();
        let (lost, unnamed) = (found.lost.total(), found.damage.is_empty());
        drop(found);
        // An object that was unreadable for a moment is not named by the check of its pack. The
        // result must not be a success, because the versions with this object were not checked.
        if lost > 0 && unnamed {
            self.damage(
                What::Object,
                count(lost, "object"),
                "could not be read during the check",
            );
        }
    }

    /// Adds a damaged pack.
    pub(super) fn damaged_pack(&self, pack: DamagedPack, why: String) {
        let key = layout::pack(&pack.name);
        self.lock().packs.push(pack);
        self.damage(What::Pack, key, why);
    }

    /// Records a pack that has to be read as a whole, with its damage if it is already known.
    pub(super) fn suspect(&self, pack: &PackName, why: Option<String>) {
        let mut found = self.lock();
        let known = found.suspects.entry(*pack).or_default();
        // The first known reason is kept, because a failed read of one object adds none.
        *known = known.take().or(why);
    }

    /// Removes and returns the packs that have to be read as a whole.
    pub(super) fn take_suspects(&self) -> BTreeMap<PackName, Option<String>> {
        std::mem::take(&mut self.lock().suspects)
    }

    /// Returns all findings, with the damage sorted by kind and key.
    pub(super) fn finish(self) -> Found {
        let mut found = self.found.into_inner();
        found
            .damage
            .sort_by(|a, b| (a.what, &a.key).cmp(&(b.what, &b.key)));
        found
    }
}

/// Returns whether an error concerns the repository. Other errors concern this run: no memory, no
/// permission, cancelled.
pub(super) fn is_damage(e: &Error) -> bool {
    matches!(e.kind(), Kind::Integrity | Kind::Internal | Kind::NotFound)
        || is_disk_failure(e.as_error())
}
