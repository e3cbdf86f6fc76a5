//! A merge of all live segments into one. If the merge is slow, it publishes rows of packs that
//! died in the meantime.

use crate::action::{Action, Stepped};
use crate::state::Step;

impl Action<'_> {
    pub(crate) fn merge(mut self) -> Stepped {
        if self.before.step != Step::Start {
            let packs = self.before.packs;
            self.state.index.add(packs, self.before.segments)?;
            return self.finish(|_| format!("merge: publishes the rows of {}", packs.named('P')));
        }
        let live = self.state.index.live();
        if live.len() < 2 {
            return self.finish(|_| "merge: nothing to do".to_owned());
        }
        let packs = self.state.readable_rows();
        self.me().segments = live;
        self.me().packs = packs;
        self.go_to(Step::Publish, |_| {
            format!("merge: reads the rows of {}", packs.named('P'))
        })
    }
}
