//! The expected results of the search. They change only if the protocol or a scenario changes.

/// The scenarios with their numbers of states.
pub const STATES: [(&str, usize); 49] = [
    ("A", 11_367),
    ("A2", 8_166),
    ("B", 73_104),
    ("C", 11_281),
    ("I", 10_178),
    ("I2", 33_522),
    ("L", 8_489),
    ("N", 281_820),
    ("D", 370_124),
    ("D2", 2_628),
    ("D3", 41_807),
    ("U", 48),
    ("E", 514),
    ("E2", 25_740),
    ("K", 561),
    ("K2", 439),
    ("K3", 974),
    ("K4", 32_356),
    ("SA", 5_970),
    ("SA2", 198_792),
    ("SA3", 965),
    ("SA4", 31_884),
    ("SA5", 2_110),
    ("SA6", 23_978),
    ("SB", 47_680),
    ("SB2", 66_735),
    ("SB3", 332_157),
    ("SC", 660),
    ("SC2", 40_277),
    ("SC3", 504),
    ("SC4", 636),
    ("SC5", 7_071),
    ("SC6", 18_301),
    ("SC7", 39_961),
    ("SC8", 314_638),
    ("SD", 766),
    ("SD2", 15_570),
    ("SD3", 754),
    ("SD4", 5_142),
    ("SE", 57),
    ("SE2", 8_963),
    ("SE3", 503_496),
    ("SE4", 122_901),
    ("SF", 10_837),
    ("SF2", 66_680),
    ("SF3", 9_678),
    ("SF5", 964),
    ("SF6", 11_033),
    ("SF4", 348_976),
];

/// A dropped rule, the smallest scenario that then has a violation, and the number of steps of a
/// shortest violation. It is 0 if the violation is that no run ends.
pub struct Catch {
    pub rule: &'static str,
    pub scenario: &'static str,
    pub steps: usize,
}

/// One row for each rule of the protocol.
pub const CATCHES: [Catch; 35] = [
    Catch {
        rule: "reread_log",
        scenario: "SC3",
        steps: 22,
    },
    Catch {
        rule: "tip_before_reread",
        scenario: "SC3",
        steps: 24,
    },
    Catch {
        rule: "reservation",
        scenario: "SC",
        steps: 27,
    },
    Catch {
        rule: "fence",
        scenario: "SC3",
        steps: 19,
    },
    Catch {
        rule: "fence_before_read",
        scenario: "SC3",
        steps: 24,
    },
    Catch {
        rule: "reread_roots",
        scenario: "K2",
        steps: 27,
    },
    Catch {
        rule: "fence_trash",
        scenario: "SC3",
        steps: 22,
    },
    Catch {
        rule: "dead_rows_no_copies",
        scenario: "SF5",
        steps: 29,
    },
    Catch {
        rule: "dead_in_d",
        scenario: "SC3",
        steps: 24,
    },
    Catch {
        rule: "exact_numbers",
        scenario: "D2",
        steps: 37,
    },
    Catch {
        rule: "walk_undo",
        scenario: "SC3",
        steps: 23,
    },
    Catch {
        rule: "base_in_r",
        scenario: "I",
        steps: 25,
    },
    Catch {
        rule: "walk_if_plan",
        scenario: "SA5",
        steps: 32,
    },
    Catch {
        rule: "walk_if_moved",
        scenario: "K",
        steps: 27,
    },
    Catch {
        rule: "walk_reparented",
        scenario: "SB",
        steps: 36,
    },
    Catch {
        rule: "parent_is_tree",
        scenario: "SC5",
        steps: 29,
    },
    Catch {
        rule: "restart_keeps_number",
        scenario: "SC5",
        steps: 34,
    },
    Catch {
        rule: "look_after_w0",
        scenario: "K",
        steps: 28,
    },
    Catch {
        rule: "dead_seen_checked",
        scenario: "SA3",
        steps: 23,
    },
    Catch {
        rule: "seen_from_w1",
        scenario: "SA6",
        steps: 36,
    },
    Catch {
        rule: "seen_per_worktree",
        scenario: "SA5",
        steps: 32,
    },
    Catch {
        rule: "fresh_names",
        scenario: "SF5",
        steps: 0,
    },
    Catch {
        rule: "keep_names",
        scenario: "SF5",
        steps: 15,
    },
    Catch {
        rule: "list_after_create",
        scenario: "U",
        steps: 22,
    },
    Catch {
        rule: "verify_copies",
        scenario: "SE",
        steps: 17,
    },
    Catch {
        rule: "verify_unneeded",
        scenario: "SE2",
        steps: 25,
    },
    Catch {
        rule: "verify_kept",
        scenario: "SE4",
        steps: 35,
    },
    Catch {
        rule: "lease_reread",
        scenario: "SD3",
        steps: 24,
    },
    Catch {
        rule: "lease_withdrawn",
        scenario: "SD3",
        steps: 26,
    },
    Catch {
        rule: "lease_moved",
        scenario: "SD3",
        steps: 25,
    },
    Catch {
        rule: "lease_no_damage",
        scenario: "SD3",
        steps: 36,
    },
    Catch {
        rule: "own_in_r",
        scenario: "SF5",
        steps: 27,
    },
    Catch {
        rule: "resumed_in_r",
        scenario: "SA3",
        steps: 28,
    },
    Catch {
        rule: "walk_rereads_trash",
        scenario: "SC7",
        steps: 39,
    },
    Catch {
        rule: "reforget",
        scenario: "SC6",
        steps: 31,
    },
];
