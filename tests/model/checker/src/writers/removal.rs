//! Forgetting a version and deleting a branch. Both append to a log and do not read the gc log.

use crate::action::{Action, Stepped};
use crate::set::Set;
use crate::state::{Step, TRASH};

impl Action<'_> {
    pub(crate) fn forget(self, version: u8) -> Stepped {
        let value = (self.state.forgotten() | Set::one(version)).to_byte();
        self.append(TRASH, value, || format!("forget v{version}"))
    }

    pub(crate) fn delete(self, to: u8) -> Stepped {
        self.append(to, 0, || format!("branch -d r{to}"))
    }

    /// Reads the number of a log in one step, and creates the next entry with `value` in a second
    /// step.
    fn append(mut self, log: u8, value: u8, what: impl Fn() -> String) -> Stepped {
        let number = self.state.logs[log].number;
        if self.before.step == Step::Start {
            self.me().tip = number;
            return self.go_to(Step::Create, |_| {
                format!("{}: log at entry {number}", what())
            });
        }
        if number != self.before.tip {
            return self.go_to(Step::Start, |_| format!("{}: number is taken", what()));
        }
        self.state.logs[log].append(value)?;
        self.finish(|_| format!("{}: entry {}", what(), number + 1))
    }
}
