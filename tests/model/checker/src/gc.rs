//! The garbage collector: M0 and the roots. The other steps are in `mark` (M1 to M6), `fence` (M7
//! to F4) and `delete` (D1).

mod delete;
mod fence;
mod mark;

use crate::action::{Action, Stepped};
use crate::set::Set;
use crate::state::{Process, State, Step, TRASH};

impl Action<'_> {
    pub(crate) fn gc(self) -> Stepped {
        match self.before.step {
            Step::Start => self.start_gc(),
            Step::Roots | Step::FenceRoots => self.read_root(),
            Step::ListPacks => self.list_packs(),
            Step::Mark => self.mark(),
            Step::Repack => self.repack(),
            Step::RepackSegment => self.index_repacked(),
            Step::Plan => self.plan(),
            Step::ListLogs => self.list_logs(),
            Step::Fence => self.fence(),
            Step::Decide => self.decide(),
            Step::Dead => self.declare_dead(),
            Step::Fold => self.fold(),
            Step::CleanUp => self.clean_up(),
            Step::Replace => self.replace_segments(),
            Step::DeleteSegments => self.delete_segment(),
            Step::DeletePacks => self.delete_pack(),
            Step::ForgetNames => self.forget_names(),
            step => unreachable!("{step:?} is no step of a gc"),
        }
    }

    /// M0: reads the gc log. If packs are already dead, the gc may also repeat D1 for them first.
    fn start_gc(mut self) -> Stepped {
        let dead = self.state.gc_log.dead();
        if dead.meets(self.state.packs.existing | self.state.index.packs()) {
            let mut cleaning = self.state;
            let me = &mut cleaning.processes[self.p];
            me.packs = dead;
            me.step = Step::CleanUp;
            self.out.push(cleaning, |_| {
                format!("gc: {} are dead and may still exist", dead.named('P'))
            });
        }
        let number = self.state.gc_log.number;
        self.me().number = number;
        self.me().d = dead;
        self.go_to(Step::Roots, |_| {
            format!("gc: M0, log at {number}, dead {}", dead.named('P'))
        })
    }

    /// Reads the next root. The roots are the refs, the trash log and the lease.
    fn read_root(mut self) -> Stepped {
        let (refs, root) = (self.model.refs, self.before.root);
        let rules = &self.model.rules;
        let State {
            logs,
            lease,
            processes,
            ..
        } = &mut self.state;
        let me = &mut processes[self.p];
        if root < refs {
            me.tips |= Set::one(logs[root].value()) - Set::one(0);
        } else if root == refs {
            me.forgotten = Set::from_byte(logs[TRASH].value());
        } else {
            me.leased = lease.version;
        }
        let is_last = root == refs + 1;
        me.root = if is_last { 0 } else { root + 1 };
        let next = match self.before.step {
            step if !is_last => step,
            Step::Roots => Step::ListPacks,
            _ if !rules.fence_before_read && rules.fence => Step::ListLogs,
            _ => Step::Decide,
        };
        self.go_to(next, |s| match root {
            _ if root < refs => format!("gc: reads root {}", s.shown_log(root)),
            _ if root == refs => format!("gc: reads root {}", s.shown_log(TRASH)),
            _ => format!("gc: reads root lease = v{}", s.lease.version),
        })
    }

    fn list_packs(mut self) -> Stepped {
        let listed = self.state.packs.existing;
        self.me().packs = listed;
        self.go_to(Step::Mark, |_| {
            format!("gc: lists packs {}", listed.named('P'))
        })
    }

    /// Returns the chunks that the roots need.
    fn needed(&self, me: &Process) -> Set {
        self.needed_by_refs(me) | self.model.history.chunks[me.leased]
    }

    fn needed_by_refs(&self, me: &Process) -> Set {
        me.tips
            .union_of(|version| self.model.history.closure(version, me.forgotten))
    }

    /// Returns the chunks that only the lease needs. If they are absent, that is not damage,
    /// because the writer of the lease may have crashed before it withdrew the lease.
    fn excused(&self, me: &Process) -> Set {
        if self.model.rules.lease_no_damage {
            self.model.history.chunks[me.leased] - self.needed_by_refs(me)
        } else {
            Set::EMPTY
        }
    }
}
