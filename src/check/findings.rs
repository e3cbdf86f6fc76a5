//! What a running check has found so far; from several threads.
//!
//! Each damaged thing is said at once as one line. What is lost is kept by the first eight bytes of ids, so that memory
//! stays small however much is lost.

use std::collections::{BTreeMap, HashSet};

use parking_lot::{Mutex, MutexGuard};

use super::report::{Damage, Lost, What};
use crate::error::{Error, Kind, is_disk_failure};
use crate::format::segment::PackName;
use crate::model::id::{Id, ObjectKind};
use crate::model::text::count;
use crate::observe::{Notice, NoticeLevel, Observer};

/// So many damaged objects are said one by one.
const OBJECTS_SAID: usize = 20;
/// So many are kept for the report.
const OBJECTS_KEPT: usize = 1000;

/// Collects.
pub(super) struct Findings<'a> {
    observer: &'a dyn Observer,
    found: Mutex<Found>,
}

/// What was collected.
#[derive(Default)]
pub(super) struct Found {
    pub(super) damage: Vec<Damage>,
    pub(super) notes: Vec<String>,
    pub(super) objects: usize,
    pub(super) lost: Lost,
    lost_ids: HashSet<u64>,
    /// What a lazy clone need not have.
    elsewhere: HashSet<u64>,
    /// Packs to be read whole, and what is known to be wrong with them.
    suspects: BTreeMap<PackName, Option<String>>,
}

impl<'a> Findings<'a> {
    pub(super) fn new(observer: &'a dyn Observer) -> Self {
        Self { observer, found: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Found> {
        self.found.lock()
    }

    fn say(&self, level: NoticeLevel, message: String) {
        self.observer.notice(Notice { level, path: Vec::new(), message });
    }

    /// Something is damaged.
    pub(super) fn damage(&self, what: What, key: impl Into<String>, why: impl Into<String>) {
        let damage = Damage { what, key: key.into(), why: why.into() };
        let line = format!("{} `{}`: {}", what.name(), damage.key, damage.why);
        let mut found = self.lock();
        if what == What::Object {
            found.objects += 1;
            if found.objects > OBJECTS_KEPT {
                return;
            }
        }
        let quiet = what == What::Object && found.objects > OBJECTS_SAID;
        found.damage.push(damage);
        drop(found);
        if !quiet {
            self.say(NoticeLevel::Damage, line);
        }
    }

    /// Worth a word.
    pub(super) fn note(&self, text: String) {
        self.lock().notes.push(text.clone());
        self.say(NoticeLevel::Info, text);
    }

    /// No pack gives this object back. False if that was known.
    pub(super) fn lose(&self, kind: ObjectKind, id: &Id) -> bool {
        let mut found = self.lock();
        let new = found.lost_ids.insert(id.prefix());
        if new {
            *match kind {
                ObjectKind::Chunk => &mut found.lost.chunks,
                ObjectKind::List => &mut found.lost.lists,
                ObjectKind::Tree => &mut found.lost.trees,
                ObjectKind::Commit => &mut found.lost.commits,
            } += 1;
        }
        new
    }

    /// Whether no pack gives this object back, as far as is known.
    pub(super) fn is_lost(&self, id: &Id) -> bool {
        self.lock().lost_ids.contains(&id.prefix())
    }

    /// An object is not here and need not be.
    pub(super) fn elsewhere(&self, id: &Id) {
        self.lock().elsewhere.insert(id.prefix());
    }

    /// Whether an object is not here and need not be.
    pub(super) fn is_elsewhere(&self, id: &Id) -> bool {
        self.lock().elsewhere.contains(&id.prefix())
    }

    /// How many there are of these.
    pub(super) fn count_elsewhere(&self) -> usize {
        self.lock().elsewhere.len()
    }

    /// Whether anything is lost.
    pub(super) fn any_lost(&self) -> bool {
        !self.lock().lost_ids.is_empty()
    }

    /// Something is lost and nothing was named for it: say so, whatever the reason may be.
    pub(super) fn own_up(&self) {
        let found = self.lock();
        let (lost, unnamed) = (found.lost.total(), found.damage.is_empty());
        drop(found);
        if lost > 0 && unnamed {
            self.damage(What::Object, count(lost, "object"), "they could not be read when they were asked for");
        }
    }

    /// A pack that has to be read whole, with what is known to be wrong with it.
    pub(super) fn suspect(&self, pack: &PackName, why: Option<String>) {
        let mut found = self.lock();
        let known = found.suspects.entry(*pack).or_default();
        *known = known.take().or(why);
    }

    /// The packs that have to be read whole.
    pub(super) fn take_suspects(&self) -> BTreeMap<PackName, Option<String>> {
        std::mem::take(&mut self.lock().suspects)
    }

    /// Everything.
    pub(super) fn finish(self) -> Found {
        let mut found = self.found.into_inner();
        found.damage.sort_by(|a, b| (a.what, &a.key).cmp(&(b.what, &b.key)));
        found
    }
}

/// Whether an error says something about the repository. If not, it is about this run: no memory, no rights, stopped.
pub(super) fn is_damage(e: &Error) -> bool {
    matches!(e.kind(), Kind::Integrity | Kind::Internal | Kind::NotFound) || is_disk_failure(e.as_error())
}
