//! D1: replaces the segments that have rows of dead packs, then deletes the old segments and the
//! dead packs.

use crate::action::{Action, Stepped};
use crate::set::Set;
use crate::state::{EntryKind, Step};

impl Action<'_> {
    pub(super) fn clean_up(mut self) -> Stepped {
        let dead = self.before.packs;
        let index = &self.state.index;
        let live = index.live();
        let with_dead_rows = live.filter(|k| index.rows[k].meets(dead));
        let old_segments = with_dead_rows | (index.existing - live);
        let old_packs = dead & self.state.packs.existing;
        let me = self.me();
        me.segments = with_dead_rows;
        me.old_segments = old_segments;
        me.old_packs = old_packs;
        self.go_on_cleaning(|| format!("cleans up {}", dead.named('P')))
    }

    pub(super) fn replace_segments(mut self) -> Stepped {
        let replaced = self.before.segments;
        let rows = self.state.index.rows_of(replaced) - self.before.packs;
        self.state.index.add(rows, replaced)?;
        self.me().segments = Set::EMPTY;
        self.go_on_cleaning(|| format!("segment with the rows of {}", rows.named('P')))
    }

    pub(super) fn delete_segment(mut self) -> Stepped {
        let Some(segment) = self.before.old_segments.first() else {
            return Ok(());
        };
        self.state.index.existing -= Set::one(segment);
        self.me().old_segments -= Set::one(segment);
        self.go_on_cleaning(|| format!("deletes segment {segment}"))
    }

    pub(super) fn delete_pack(mut self) -> Stepped {
        let Some(pack) = self.before.old_packs.first() else {
            return Ok(());
        };
        self.state.packs.existing -= Set::one(pack);
        self.me().old_packs -= Set::one(pack);
        self.go_on_cleaning(|| format!("deletes P{pack}"))
    }

    /// Ends the step. The gc continues with the next kind of deletion.
    fn go_on_cleaning(mut self, text: impl FnOnce() -> String) -> Stepped {
        let me = *self.me();
        let next = if !me.segments.is_empty() {
            Step::Replace
        } else if !me.old_segments.is_empty() {
            Step::DeleteSegments
        } else if !me.old_packs.is_empty() {
            Step::DeletePacks
        } else if !self.model.rules.keep_names {
            Step::ForgetNames
        } else {
            return self.finish(|_| format!("gc: D1, {}", text()));
        };
        self.go_to(next, |_| format!("gc: D1, {}", text()))
    }

    /// A mutation: removes the names of packs that no longer exist from the lists of dead packs.
    pub(super) fn forget_names(mut self) -> Stepped {
        let existing = self.state.packs.existing;
        let entries = self.state.gc_log.entries.0.iter_mut();
        entries
            .filter(|e| e.kind == EntryKind::Dead)
            .for_each(|e| e.packs = e.packs & existing);
        self.finish(|_| "gc: (mutation) forgets the names of deleted packs".to_owned())
    }
}
