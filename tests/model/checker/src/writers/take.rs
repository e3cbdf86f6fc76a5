//! Take-overs: a log moves to a version whose objects the writer did not store. The other steps are
//! in `publish`.

use super::publish::LogMove;
use crate::action::{Action, Stepped};
use crate::set::Set;
use crate::state::Step;

impl Action<'_> {
    /// Moves `to` to the tip of `from`, or to the ancestor `wanted` of that tip if `wanted` is not
    /// 0.
    pub(crate) fn take(mut self, to: u8, from: u8, wanted: u8) -> Stepped {
        let history = self.model.history;
        let number = self.state.gc_log.number;
        match self.before.step {
            Step::Start => {
                self.me().number = number;
                self.go_to(Step::Base, |_| format!("take: W0, log at {number}"))
            }
            Step::Base => {
                let tip = self.state.value(from);
                let version = if wanted == 0 { tip } else { wanted };
                if tip == 0 || !history.is_ancestor(version, tip) {
                    return self.finish(|_| {
                        format!("take: r{from} = v{tip} does not reach v{wanted}: gives up")
                    });
                }
                self.me().version = version;
                self.me().shown_by = tip;
                self.go_to(Step::ReadTrash, |_| {
                    format!("take: v{version} is reached by r{from} = v{tip}")
                })
            }
            Step::ReadTrash => {
                let version = self.before.version;
                let forgotten = self.state.forgotten();
                if forgotten.has(version) && self.before.shown_by != version {
                    return self.finish(|_| format!("take: v{version} is forgotten: gives up"));
                }
                let unread = history.closure(version, forgotten);
                self.me().shown_by = 0;
                self.me().unread = unread;
                let next = if self.model.rules.look_after_w0 {
                    self.first_of_publish()
                } else {
                    Step::LateW0
                };
                self.go_to(next, |_| {
                    format!(
                        "take: v{version} is not forgotten; unread {}",
                        unread.named('x')
                    )
                })
            }
            Step::LateW0 => {
                self.me().number = number;
                let next = self.first_of_publish();
                self.go_to(next, |_| {
                    format!("take: (mutation) W0 only now, log at {number}")
                })
            }
            _ => {
                let version = self.before.version;
                self.publish(&taken(to, version, false))
            }
        }
    }

    /// Moves `to` to a version that no visible ref reaches. If `to` is the trash log, restores the
    /// version.
    pub(crate) fn undo(mut self, to: u8, version: u8) -> Stepped {
        if self.before.step != Step::Start {
            return self.publish(&taken(to, version, true));
        }
        let number = self.state.gc_log.number;
        let unread = self.model.history.closure(version, Set::EMPTY);
        let me = self.me();
        me.number = number;
        me.version = version;
        me.unread = unread;
        let next = self.first_of_publish();
        self.go_to(next, |_| format!("undo to v{version}: W0, log at {number}"))
    }
}

fn taken(to: u8, version: u8, always_walks: bool) -> LogMove {
    LogMove {
        to,
        version,
        is_restorable: false,
        always_walks,
        first_parent: 0,
        remembers: false,
    }
}
