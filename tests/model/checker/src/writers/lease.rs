//! Leases. A root without a log has no fence, so its writer first creates the root and then checks
//! the version.

use crate::action::{Action, Stepped};
use crate::state::{Lease, State, Step};

impl Action<'_> {
    /// Writes a lease for the tip of `from`, or for its ancestor `wanted` if that is not 0.
    pub(crate) fn lease(mut self, from: u8, wanted: u8) -> Stepped {
        let number = self.state.gc_log.number;
        let version = self.before.version;
        match self.before.step {
            Step::Start => {
                self.me().number = number;
                self.go_to(Step::Base, |_| format!("lease: log at {number}"))
            }
            Step::Base => self.choose_leased(from, wanted),
            Step::WriteRoot => {
                self.state.lease.version = version;
                let text = move |_: &State| format!("lease: writes the root v{version}");
                if self.model.rules.lease_reread {
                    self.go_to(Step::Reread, text)
                } else {
                    self.confirm(text)
                }
            }
            Step::Reread => {
                let d = self.model.d(&self.state);
                self.me().d = d;
                let has_moved = number != self.before.number && self.model.rules.lease_moved;
                if self.state.gc_log.plan().is_some() || has_moved {
                    self.go_to(Step::Walk, |_| {
                        format!("lease: log at {number}, D {}: must walk", d.named('P'))
                    })
                } else {
                    self.confirm(|_| format!("lease: log at {number} has not moved: confirmed"))
                }
            }
            Step::Walk => {
                let outside = self.state.index.packs() - self.before.d;
                let history = self.model.history;
                let missing = history.chunks[version] - history.present(&self.state.packs, outside);
                let text =
                    move |_: &State| format!("lease: walked, missing {}", missing.named('x'));
                if !missing.is_empty() && self.model.rules.lease_withdrawn {
                    self.go_to(Step::Withdraw, text)
                } else {
                    self.confirm(text)
                }
            }
            _ => {
                self.state.lease.version = 0;
                self.finish(|_| "lease: withdrawn, exit 13".to_owned())
            }
        }
    }

    fn choose_leased(mut self, from: u8, wanted: u8) -> Stepped {
        let tip = self.state.value(from);
        let version = if wanted == 0 { tip } else { wanted };
        let is_hidden = version != tip && self.state.forgotten().has(version);
        if tip == 0 || !self.model.history.is_ancestor(version, tip) || is_hidden {
            return self.finish(|_| format!("lease: r{from} does not show the version: gives up"));
        }
        self.me().version = version;
        self.go_to(Step::WriteRoot, |_| {
            format!("lease: r{from} = v{tip} shows v{version}")
        })
    }

    fn confirm(mut self, text: impl FnOnce(&State) -> String) -> Stepped {
        self.state.lease = Lease {
            is_confirmed: true,
            ..self.state.lease
        };
        self.finish(text)
    }
}
