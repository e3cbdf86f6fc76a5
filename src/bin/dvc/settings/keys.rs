//! The table of every setting: name, type, default, where it may come from, what it does.

use super::value::Type;

/// One setting.
#[derive(Debug)]
pub(crate) struct Key {
    /// `section.name`.
    pub(crate) name: &'static str,
    /// What it holds.
    pub(crate) kind: Type,
    /// The built-in value; `None` where it is worked out at start.
    pub(crate) default: Option<&'static str>,
    /// The environment variable that sets it; so do the file that `NAME_FILE` names and `/run/secrets/NAME`.
    pub(crate) env: Option<&'static str>,
    /// Whether a repository may set it: nothing that runs a command, since a repository may come from a stranger.
    pub(crate) in_repository: bool,
    /// Whether its value is never shown, and never given on the command line.
    pub(crate) secret: bool,
    /// One line for the manual.
    pub(crate) about: &'static str,
}

const fn key(name: &'static str, kind: Type, default: &'static str, about: &'static str) -> Key {
    Key { name, kind, default: Some(default), env: None, in_repository: true, secret: false, about }
}

const fn from_env(env: &'static str, key: Key) -> Key {
    Key { env: Some(env), ..key }
}

const fn not_in_repository(key: Key) -> Key {
    Key { in_repository: false, ..key }
}

const fn hook(name: &'static str, about: &'static str) -> Key {
    not_in_repository(worked_out(key(name, Type::Command, "", about)))
}

/// Nothing is one until somebody sets it.
const fn secret(key: Key) -> Key {
    not_in_repository(worked_out(Key { secret: true, ..key }))
}

const fn worked_out(key: Key) -> Key {
    Key { default: None, ..key }
}

const WHEN: Type = Type::Choice(&["auto", "always", "never"]);
const LEVELS: Type = Type::Choice(&["error", "warn", "info", "debug"]);

/// Every setting, sorted by name.
pub(crate) const KEYS: &[Key] = &[
    not_in_repository(worked_out(from_env(
        "DVC_CACHE_DIR",
        key("cache.dir", Type::Path, "", "where what can be made again is kept"),
    ))),
    not_in_repository(from_env(
        "DVC_CACHE_SIZE",
        key("cache.size", Type::Size { min: 64 << 20 }, "10G", "what the cache of far objects may take on disk"),
    )),
    key(
        "commit.exclude",
        Type::List,
        "",
        "patterns (as in `.dvcsignore`) that no commit takes; `--exclude` adds to them",
    ),
    key("commit.exclude-caches", Type::Bool, "false", "leave out directories marked by a `CACHEDIR.TAG`"),
    key("commit.one-file-system", Type::Bool, "false", "do not descend into other file systems"),
    key(
        "commit.running-database",
        Type::Choice(&["warn", "refuse", "ignore"]),
        "warn",
        "what a commit does about a database that runs in the directory that it reads",
    ),
    worked_out(from_env("DVC_JOBS", key("core.jobs", Type::Count, "", "threads that work at the same time"))),
    from_env(
        "DVC_MEMORY",
        key(
            "core.memory",
            Type::Size { min: 64 << 20 },
            "192M",
            "memory that an operation may use for its buffers and tables",
        ),
    ),
    hook("hook.failed-commit", "what runs when a commit failed; the failure is in the JSON on its standard input"),
    hook("hook.failed-push", "what runs when a push failed"),
    hook("hook.post-commit", "what runs when a version was made"),
    hook("hook.post-push", "what runs when a remote has everything"),
    hook("hook.pre-commit", "what runs before a commit; if it fails nothing is committed"),
    hook("hook.pre-push", "what runs before a push; if it fails nothing is pushed"),
    key("hook.timeout", Type::Duration, "5m", "so long a hook may take"),
    key("init.branch", Type::Text, "main", "the first branch of a new repository"),
    key(
        "network.limit-down",
        Type::Size { min: 0 },
        "0",
        "receive at most so many bytes a second; 0 is as fast as it goes",
    ),
    key("network.limit-up", Type::Size { min: 0 }, "0", "send at most so many bytes a second; 0 is as fast as it goes"),
    key("network.offline", Type::Bool, "false", "use no network"),
    secret(from_env(
        "DVC_QUIESCE_PASSWORD",
        key("quiesce.password", Type::Text, "", "the databases' password for `commit --quiesce`"),
    )),
    not_in_repository(from_env(
        "DVC_SAFE_DIRECTORY",
        key(
            "safe.directory",
            Type::List,
            "",
            "repositories of other users whose hooks and remotes are used; `DIR/*` is all below, `*` is all",
        ),
    )),
    key("ui.color", WHEN, "auto", "colour in the output"),
    from_env("DVC_LOG", key("ui.log", LEVELS, "info", "the least important messages to show on standard error")),
    not_in_repository(from_env(
        "DVC_PAGER",
        key(
            "ui.pager",
            Type::Text,
            "auto",
            "command that shows long output; `auto` is `$PAGER` or `less`, empty is none",
        ),
    )),
    key("ui.progress", WHEN, "auto", "progress bars on standard error"),
    worked_out(from_env(
        "DVC_AUTHOR",
        key(
            "user.author",
            Type::Author,
            "",
            "who makes versions, `Name <mail>`; else made of `user.name` and `user.email`",
        ),
    )),
    worked_out(key("user.email", Type::Text, "", "mail address in the versions that you make")),
    worked_out(key("user.name", Type::Text, "", "name in the versions that you make")),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_its_defaults_are_valid() {
        assert!(KEYS.windows(2).all(|w| w[0].name < w[1].name));
        for key in KEYS {
            if let Some(default) = key.default {
                assert!(key.kind.parse(default).is_ok(), "{}", key.name);
            }
        }
    }
}
