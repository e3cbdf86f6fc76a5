//! The rules of the protocol. A mutation drops one rule; then at least one scenario must have a
//! violation.

/// A rule of the protocol.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    pub name: &'static str,
    /// Whether the protocol includes the rule. Optional variants are off.
    pub is_required: bool,
    pub text: &'static str,
}

macro_rules! rules {
    ($($name:ident = $required:literal, $text:literal;)*) => {
        /// The state of every rule, on or off, in one run.
        #[derive(Clone, Copy, Debug)]
        pub struct Rules {
            $(pub $name: bool,)*
        }

        impl Rules {
            /// The rules of the protocol as it is.
            pub const PROTOCOL: Self = Self { $($name: $required,)* };

            /// All rules.
            pub const ALL: &'static [Rule] =
                &[$(Rule { name: stringify!($name), is_required: $required, text: $text },)*];

            /// Returns these rules with one of them set to `value`, or `None` if there is no rule
            /// with this name.
            pub fn with(mut self, name: &str, value: bool) -> Option<Self> {
                match name {
                    $(stringify!($name) => self.$name = value,)*
                    _ => return None,
                }
                Some(self)
            }
        }
    };
}

rules! {
    reread_log = true, "W1: writers read the log again after T";
    tip_before_reread = true, "T comes before W1";
    reservation = true, "a ref without a log gets a reservation first";
    fence = true, "gc fences every log";
    fence_before_read = true, "the fence comes before F2";
    reread_roots = true, "F2: gc reads the roots again after the fence";
    fence_trash = true, "the trash log is fenced too";
    dead_rows_no_copies = true, "mark, F2 and F3: rows of dead packs are no copies";
    dead_in_d = true, "D has the newest dead list, not only the plan";
    exact_numbers = true, "plan at exactly q0+1, dead at exactly plan+1";
    walk_undo = true, "a value that no visible ref reaches is always walked";
    base_in_r = true, "the pack of a delta's base enters R";
    walk_if_plan = true, "W1: unread parts are walked while the newest entry is a plan";
    walk_if_moved = true, "W1: unread parts are walked if the number moved since W0";
    walk_reparented = true, "W1: `parent` is the tip that the last T read, not the first";
    parent_is_tree = true, "W1: only the parent's own tree counts as its part, not its ancestors'";
    restart_keeps_number = true, "looking up again after W1 does not renew the number of W0";
    look_after_w0 = true, "a taken-over version is seen (ref, trash log) after W0";
    dead_seen_checked = true, "a stat record is believed only if dead_seen is the newest dead number or the parent has it";
    seen_from_w1 = true, "dead_seen is the dead number that W1 read, not a later one";
    seen_per_worktree = true, "dead_seen is kept for each worktree";
    fresh_names = true, "a pack whose name is in D is stored under a salted name";
    keep_names = true, "dead lists keep all names";
    list_after_create = true, "after a create, list: a higher number voids it (numbers freed by folding)";
    verify_copies = true, "M5: a pack is planned only if the other copies of its objects were read and verified";
    verify_unneeded = true, "M5: that includes objects that nothing needs at the mark";
    verify_kept = true, "F3: a pack that F3 keeps counts as one that stays: its copies are verified, or the others are kept";
    lease_reread = true, "the writer of a lease reads the log afterwards";
    lease_withdrawn = true, "a lease whose version is missing is withdrawn";
    lease_moved = true, "a lease is also walked if the number moved since the version was seen";
    lease_no_damage = true, "an object that only a lease misses is no damage and stops no gc";
    own_in_r = true, "packs that the writer wrote itself enter R";
    resumed_in_r = true, "packs found present by name (resumed push) enter R";
    walk_rereads_trash = true, "the walk of W1 reads the trash log again (a version may have been restored)";
    reforget = true, "a walk that skips a forgotten ancestor that is not whole fences the trash log before W2";
    void_plan = false, "variant: a walk that finds its objects in the newest plan voids it by an empty plan";
    walk_renews = false, "variant: after a walk the number it was done under replaces that of W0";
}
