//! Generates the manual pages: one per command from the definition of the command line, others from
//! the documents.
//!
//! [`pages`] returns paths below the manual's directory, and the sources of the pages.

mod inline;
mod markdown;
mod roff;
mod verbs;

use crate::globals::GLOBAL_HEADING;
use crate::settings::keys::KEYS;
use clap::{Arg, ArgAction, Command};
use inline::{bold, bold_page, italic};
use markdown::{section, write};
use roff::Roff;
use verbs::{
    CLI, ERRORS, FILES, Fact, HOOKS, JSON, MOUNT_HELPER, QUIESCE, REMOTES, VerbFacts, facts,
};

/// The documents lack a section that a page needs.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct MissingSection {
    page: String,
    heading: &'static str,
}

impl std::fmt::Display for MissingSection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "the documents have no section `{}`, which the manual page {} needs",
            self.heading, self.page
        )
    }
}

/// A page that is generated from a document.
struct Topic {
    name: &'static str,
    section: u8,
    about: &'static str,
    document: &'static str,
    heading: &'static str,
    see: &'static [&'static str],
}

const TOPICS: [Topic; 6] = [
    Topic {
        name: "dvc-errors",
        section: 7,
        about: "failures and exit codes of dvc",
        document: ERRORS,
        heading: "",
        see: &["dvc(1)", "dvc-fsck(1)", "dvc-remotes(7)"],
    },
    Topic {
        name: "dvc-hooks",
        section: 7,
        about: "programs that run before and after commits and pushes",
        document: HOOKS,
        heading: "",
        see: &["dvc-commit(1)", "dvc-push(1)", "dvc-config(5)"],
    },
    Topic {
        name: "dvc-json",
        section: 7,
        about: "JSON objects that commands write with --json",
        document: JSON,
        heading: "",
        see: &["dvc(1)", "dvc-errors(7)", "dvc-hooks(7)"],
    },
    Topic {
        name: "dvc-quiesce",
        section: 7,
        about: "consistent commits of data that programs write to",
        document: QUIESCE,
        heading: "",
        see: &["dvc-commit(1)", "dvc-mount(1)"],
    },
    Topic {
        name: "dvc-remotes",
        section: 7,
        about: "URLs, credentials and use of remote repositories",
        document: REMOTES,
        heading: "",
        see: &[
            "dvc-remote(1)",
            "dvc-push(1)",
            "dvc-fetch(1)",
            "dvc-clone(1)",
            "dvc-errors(7)",
        ],
    },
    Topic {
        name: "dvc-revisions",
        section: 7,
        about: "names of versions, ranges and paths in versions",
        document: CLI,
        heading: "Revisions",
        see: &[
            "dvc-log(1)",
            "dvc-show(1)",
            "dvc-diff(1)",
            "dvc-checkout(1)",
        ],
    },
];

/// Returns all pages, each with a path such as `man1/dvc-commit.1`. The caller must have built
/// `program`.
pub(crate) fn pages(program: &Command) -> Result<Vec<(String, Vec<u8>)>, MissingSection> {
    let mut pages = vec![("man1/dvc.1".to_owned(), of_program(program)?)];
    add_verbs(program, "", &mut pages)?;
    for topic in &TOPICS {
        pages.push((
            format!("man{0}/{1}.{0}", topic.section, topic.name),
            of_topic(topic)?,
        ));
    }
    pages.push(("man5/dvc-config.5".to_owned(), of_settings()?));
    pages.push(("man8/mount.dvc.8".to_owned(), of_mount_helper()));
    // `git dvc --help` opens this page.
    pages.push(("man1/git-dvc.1".to_owned(), b".so man1/dvc.1\n".to_vec()));
    Ok(pages)
}

fn add_verbs(
    command: &Command,
    path: &str,
    pages: &mut Vec<(String, Vec<u8>)>,
) -> Result<(), MissingSection> {
    for verb in verbs_of(command) {
        let path = format!("{path} {}", verb.get_name()).trim().to_owned();
        pages.push((
            format!("man1/{}.1", page_name(&path)),
            of_verb(verb, &path)?,
        ));
        add_verbs(verb, &path, pages)?;
    }
    Ok(())
}

fn verbs_of(command: &Command) -> impl Iterator<Item = &Command> {
    command
        .get_subcommands()
        .filter(|verb| !verb.is_hide_set() && verb.get_name() != "help")
}

/// Returns the page name of a command: `dvc-remote-add` for `remote add`.
fn page_name(verb: &str) -> String {
    format!("dvc-{}", verb.replace(' ', "-"))
}

fn of_program(program: &Command) -> Result<Vec<u8>, MissingSection> {
    let mut page = Roff::page("dvc", 1, &about(program));
    page.heading("SYNOPSIS");
    // In roff, `\~` is a space at which no line ends.
    page.synopsis(
        "dvc",
        &format!(
            "[{}]\\~{} [{}] [{}]...",
            italic("OPTION"),
            italic("COMMAND"),
            italic("OPTION"),
            italic("ARGUMENT")
        ),
    );
    page.heading("DESCRIPTION");
    page.paragraph(
        &program
            .get_long_about()
            .map(ToString::to_string)
            .unwrap_or_default(),
    );
    take(&mut page, "dvc(1)", CLI, "Repository and worktree", true)?;
    page.heading("COMMANDS");
    commands(&mut page, program, "");
    page.heading("OPTIONS");
    page.paragraph("Every command accepts these options, before and after its name.");
    let is_own = |arg: &&Arg| !arg.is_hide_set() && !arg.is_positional();
    program
        .get_arguments()
        .filter(is_own)
        .for_each(|arg| option(&mut page, arg));
    page.heading("DRY RUNS");
    take(&mut page, "dvc(1)", CLI, "Dry runs", true)?;
    page.heading("OUTPUT");
    take(&mut page, "dvc(1)", CLI, "Output", true)?;
    page.heading("EXIT STATUS");
    let kinds = section(ERRORS, "")
        .and_then(|text| text.split("\n## ").next())
        .unwrap_or_default();
    write(&mut page, kinds, true);
    take(&mut page, "dvc(1)", ERRORS, "Other exit codes", true)?;
    page.heading("ENVIRONMENT");
    let settings = section(CLI, "Settings").unwrap_or_default();
    let variables: Vec<&str> = settings
        .lines()
        .filter(|line| line.starts_with('|'))
        .collect();
    write(&mut page, &variables.join("\n"), true);
    page.paragraph("[remotes.md](remotes.md) lists the variables with credentials.");
    list(&mut page, "FILES", FILES);
    let topics = TOPICS
        .iter()
        .map(|topic| format!("{}({})", topic.name, topic.section));
    let mut see: Vec<String> = [
        "dvc-commit(1)",
        "dvc-checkout(1)",
        "dvc-mount(1)",
        "dvc-push(1)",
        "dvc-config(5)",
    ]
    .map(str::to_owned)
    .into();
    see.extend(topics.chain(["mount.dvc(8)".to_owned()]));
    see_also(&mut page, see.iter().map(String::as_str));
    Ok(page.finish())
}

fn of_verb(command: &Command, verb: &str) -> Result<Vec<u8>, MissingSection> {
    let name = page_name(verb);
    let facts = facts(verb);
    let mut page = Roff::page(&name, 1, &about(command));
    page.heading("SYNOPSIS");
    let own = format!("dvc {verb}");
    if !command.is_subcommand_required_set() {
        page.synopsis(&own, &synopsis(command));
    }
    for sub in verbs_of(command) {
        page.synopsis(&format!("{own} {}", sub.get_name()), &synopsis(sub));
    }
    description(&mut page, &name, command, facts)?;
    if verbs_of(command).next().is_some() {
        page.heading("COMMANDS");
        commands(&mut page, command, verb);
    }
    page.heading("OPTIONS");
    let mut own: Vec<&Arg> = own_arguments(command).collect();
    own.sort_by_key(|arg| arg.is_positional());
    own.iter().for_each(|arg| option(&mut page, arg));
    page.paragraph("The options of [cli.md](cli.md) that every command has, such as `-C`, `--repo`, `--json` and `-q`, are accepted too.");
    if let Some(lines) = examples(command) {
        page.heading("EXAMPLES");
        page.example(lines.iter().map(String::as_str));
    }
    page.heading("EXIT STATUS");
    if !facts.exit.iter().any(|(code, _)| *code == "0") {
        page.item("0", "Done.");
    }
    facts
        .exit
        .iter()
        .for_each(|(code, meaning)| page.item(code, meaning));
    page.paragraph("[errors.md](errors.md) lists the exit codes that all commands share.");
    page.heading("ENVIRONMENT");
    facts
        .environment
        .iter()
        .for_each(|(name, what)| page.item(&bold(name), what));
    page.paragraph("[cli.md](cli.md) lists the variables of all commands.");
    page.heading("FILES");
    facts
        .files
        .iter()
        .for_each(|(name, what)| page.item(&italic(name), what));
    page.paragraph("[cli.md](cli.md) lists the files of all commands.");
    let parent = verb
        .rsplit_once(' ')
        .map(|(parent, _)| format!("{}(1)", page_name(parent)));
    let subs = verbs_of(command)
        .map(|sub| format!("{}(1)", page_name(&format!("{verb} {}", sub.get_name()))));
    let mut see: Vec<String> = std::iter::once("dvc(1)".to_owned())
        .chain(parent)
        .chain(subs)
        .collect();
    see.extend(facts.see.iter().map(|page| (*page).to_owned()));
    see.dedup();
    see_also(&mut page, see.iter().map(String::as_str));
    Ok(page.finish())
}

/// Writes the description of a command and the related sections of the documents.
fn description(
    page: &mut Roff,
    name: &str,
    command: &Command,
    facts: &VerbFacts,
) -> Result<(), MissingSection> {
    page.heading("DESCRIPTION");
    let text = command
        .get_long_about()
        .or_else(|| command.get_about())
        .map(ToString::to_string)
        .unwrap_or_default();
    page.paragraph(&format!("{}.", text.trim_end_matches('.')));
    if let Some(note) = command
        .get_after_help()
        .map(ToString::to_string)
        .filter(|note| is_note(note))
    {
        page.paragraph(&note);
    }
    for (document, heading) in facts.text {
        if facts.text.len() > 1 {
            page.subheading(heading);
        }
        take(page, name, document, heading, true)?;
    }
    Ok(())
}

/// Returns whether the text after the help is a note. Examples have a section of their own, and the
/// settings a page of their own.
fn is_note(after: &str) -> bool {
    !after.starts_with("Examples:") && !after.starts_with("Settings:")
}

fn examples(command: &Command) -> Option<Vec<String>> {
    let after = command.get_after_help()?.to_string();
    let lines = after.strip_prefix("Examples:")?.trim_start_matches('\n');
    Some(
        lines
            .lines()
            .map(|line| line.strip_prefix("  ").unwrap_or(line).to_owned())
            .collect(),
    )
}

/// Writes a section of a document. Fails if the document has no such section.
fn take(
    page: &mut Roff,
    name: &str,
    document: &str,
    heading: &'static str,
    nested: bool,
) -> Result<(), MissingSection> {
    let missing = || MissingSection {
        page: name.to_owned(),
        heading,
    };
    write(
        page,
        section(document, heading).ok_or_else(missing)?,
        nested,
    );
    Ok(())
}

fn of_topic(topic: &Topic) -> Result<Vec<u8>, MissingSection> {
    let mut page = Roff::page(topic.name, topic.section, topic.about);
    page.heading("DESCRIPTION");
    take(&mut page, topic.name, topic.document, topic.heading, false)?;
    see_also(
        &mut page,
        std::iter::once("dvc(1)").chain(topic.see.iter().copied().filter(|page| *page != "dvc(1)")),
    );
    Ok(page.finish())
}

fn of_settings() -> Result<Vec<u8>, MissingSection> {
    let mut page = Roff::page("dvc-config", 5, "settings of dvc");
    page.heading("DESCRIPTION");
    take(&mut page, "dvc-config(5)", CLI, "Settings", true)?;
    page.heading("SETTINGS");
    for key in KEYS {
        page.item(&bold(key.name), &format!("{}.", key.about));
        let default = key
            .default
            .filter(|default| !default.is_empty())
            .map(|default| format!("; default: `{default}`"));
        page.item_line(&format!(
            "Value: {}{}.",
            key.kind.description(),
            default.unwrap_or_default()
        ));
        if let Some(variable) = key.env {
            page.item_line(&format!("Variable: `{variable}`."));
        }
        if !key.in_repository {
            page.item_line("The configuration of a repository cannot set it.");
        }
    }
    page.item(&bold("remote.NAME.url"), "The URL of the remote NAME.");
    page.item(
        &bold("remote.NAME.lazy"),
        "Whether missing data is fetched from the remote NAME when it is read.",
    );
    list(&mut page, "FILES", FILES);
    see_also(&mut page, ["dvc(1)", "dvc-config(1)", "dvc-remotes(7)"]);
    Ok(page.finish())
}

fn of_mount_helper() -> Vec<u8> {
    let mut page = Roff::page("mount.dvc", 8, "mount a version of a dvc repository");
    page.heading("SYNOPSIS");
    let rest = format!(
        "{} {} [{}] [{}\\~{}]",
        italic("SOURCE"),
        italic("DIR"),
        bold("-fnsv"),
        bold("-o"),
        italic("OPTIONS")
    );
    page.synopsis("mount.dvc", &rest);
    page.synopsis(
        "mount -t dvc",
        &format!(
            "[{}\\~{}] {} {}",
            bold("-o"),
            italic("OPTIONS"),
            italic("SOURCE"),
            italic("DIR")
        ),
    );
    write(&mut page, MOUNT_HELPER, false);
    page.heading("EXIT STATUS");
    page.item("0", "The version is mounted.");
    page.paragraph("[errors.md](errors.md) lists the others.");
    page.heading("ENVIRONMENT");
    page.paragraph("[remotes.md](remotes.md) lists the variables with credentials. In a mount unit of systemd, `EnvironmentFile=` sets them.");
    page.heading("FILES");
    page.item(&italic("/etc/fstab"), "File systems of this machine.");
    page.item(
        &italic("/run/dvc/"),
        "Control sockets and state files of mounts.",
    );
    see_also(
        &mut page,
        [
            "dvc-mount(1)",
            "dvc-umount(1)",
            "dvc-remotes(7)",
            "fstab(5)",
            "systemd.mount(5)",
            "mount(8)",
        ],
    );
    page.finish()
}

fn about(command: &Command) -> String {
    command
        .get_about()
        .map(ToString::to_string)
        .unwrap_or_default()
}

/// Lists the subcommands and their pages.
fn commands(page: &mut Roff, command: &Command, path: &str) {
    for verb in verbs_of(command) {
        let name = page_name(format!("{path} {}", verb.get_name()).trim());
        page.item(
            &bold_page(&format!("{name}(1)")),
            &format!("{}.", about(verb).trim_end_matches('.')),
        );
    }
}

fn list(page: &mut Roff, heading: &str, facts: &[Fact]) {
    page.heading(heading);
    facts
        .iter()
        .for_each(|(name, what)| page.item(&italic(name), what));
}

fn see_also<'p>(page: &mut Roff, pages: impl IntoIterator<Item = &'p str>) {
    page.heading("SEE ALSO");
    let pages: Vec<String> = pages
        .into_iter()
        // The last three bytes are the section, such as `(1)`.
        .map(|page| format!("**{}**{}", &page[..page.len() - 3], &page[page.len() - 3..]))
        .collect();
    page.paragraph(&pages.join(", "));
}

/// Returns the command's own arguments, in the order of their definition.
fn own_arguments(command: &Command) -> impl Iterator<Item = &Arg> {
    command.get_arguments().filter(|arg| {
        let is_global = arg.get_help_heading() == Some(GLOBAL_HEADING);
        let is_help = matches!(
            arg.get_action(),
            ArgAction::Help | ArgAction::HelpShort | ArgAction::HelpLong
        );
        !is_global && !is_help && !arg.is_hide_set()
    })
}

/// Returns the synopsis of a command in roff, without its name.
fn synopsis(command: &Command) -> String {
    let mut words = Vec::new();
    for arg in own_arguments(command).filter(|arg| !arg.is_positional()) {
        let repeats = matches!(arg.get_action(), ArgAction::Append | ArgAction::Count);
        // Only the long name takes its value after `=`.
        let name = match (arg.get_short(), arg.get_long()) {
            (Some(letter), _) if !arg.is_require_equals_set() => format!("-{letter}"),
            (_, Some(long)) => format!("--{long}"),
            (Some(letter), None) => format!("-{letter}"),
            (None, None) => continue,
        };
        let one = format!("{}{}", bold(&name), value(arg));
        let one = if arg.is_required_set() {
            one
        } else {
            format!("[{one}]")
        };
        words.push(if repeats { format!("{one}...") } else { one });
    }
    let mut positionals: Vec<&Arg> = own_arguments(command)
        .filter(|arg| arg.is_positional())
        .collect();
    positionals.sort_by_key(|arg| arg.get_index());
    for arg in positionals {
        let mut one = value_names(arg);
        if arg
            .get_num_args()
            .is_some_and(|range| range.max_values() > 1)
        {
            one.push_str("...");
        }
        let one = if arg.is_last_set() {
            format!("{}\\~{one}", bold("--"))
        } else {
            one
        };
        words.push(if arg.is_required_set() {
            one
        } else {
            format!("[{one}]")
        });
    }
    words.join(" ")
}

/// Returns the value of an option in roff, with its separator.
fn value(arg: &Arg) -> String {
    if !arg.get_action().takes_values() {
        return String::new();
    }
    let names = value_names(arg);
    match (
        arg.get_num_args()
            .is_some_and(|range| range.min_values() == 0),
        arg.is_require_equals_set(),
    ) {
        (true, _) => format!("[={names}]"),
        (false, true) => format!("={names}"),
        (false, false) => format!("\\~{names}"),
    }
}

fn value_names(arg: &Arg) -> String {
    let id = arg.get_id().as_str().to_uppercase();
    let names: Vec<String> = match arg.get_value_names() {
        Some(names) => names.iter().map(|name| italic(name.as_str())).collect(),
        None => vec![italic(&id)],
    };
    names.join("\\~")
}

/// Writes an option with its names, value, description, possible values and default.
fn option(page: &mut Roff, arg: &Arg) {
    let mut names: Vec<String> = arg
        .get_short()
        .map(|letter| bold(&format!("-{letter}")))
        .into_iter()
        .collect();
    names.extend(arg.get_long().map(|long| bold(&format!("--{long}"))));
    let term = if arg.is_positional() {
        value_names(arg)
    } else {
        format!("{}{}", names.join(", "), value(arg))
    };
    let help = arg
        .get_long_help()
        .or_else(|| arg.get_help())
        .map(ToString::to_string)
        .unwrap_or_default();
    page.item(
        &term,
        &format!("{}.", help.trim_end_matches('.').replace('\n', " ")),
    );
    let values: Vec<_> = arg
        .get_possible_values()
        .into_iter()
        .filter(|value| !value.is_hide_set())
        .collect();
    // In clap, a flag has possible values and a default, too: `true` and `false`.
    if arg.get_action().takes_values() && values.iter().any(|value| value.get_help().is_some()) {
        for value in &values {
            let about = value
                .get_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            page.item_line(&format!(
                "`{}`: {}.",
                value.get_name(),
                about.trim_end_matches('.')
            ));
        }
    }
    let defaults: Vec<String> = arg
        .get_default_values()
        .iter()
        .map(|value| format!("`{}`", value.to_string_lossy()))
        .collect();
    if arg.get_action().takes_values() && !defaults.is_empty() {
        page.item_line(&format!("Default: {}.", defaults.join(", ")));
    }
    let aliases: Vec<String> = arg
        .get_visible_aliases()
        .unwrap_or_default()
        .iter()
        .map(|alias| format!("`--{alias}`"))
        .collect();
    if !aliases.is_empty() {
        page.item_line(&format!("Also written {}.", aliases.join(", ")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::program;

    #[test]
    fn every_command_has_a_page_with_every_section() {
        let pages = pages(&program())
            .map_err(|missing| missing.to_string())
            .unwrap();
        for (name, text) in &pages {
            let text = String::from_utf8_lossy(text);
            if name.ends_with("git-dvc.1") {
                continue;
            }
            let wanted: &[&str] = match name.rsplit_once('.').unwrap().1 {
                "1" | "8" => &[
                    "SYNOPSIS",
                    "DESCRIPTION",
                    "OPTIONS",
                    "EXIT STATUS",
                    "ENVIRONMENT",
                    "FILES",
                    "SEE ALSO",
                ],
                _ => &["DESCRIPTION", "SEE ALSO"],
            };
            let lacks: Vec<_> = wanted
                .iter()
                .filter(|heading| !text.contains(&format!(".SH \"{heading}\"\n")))
                .collect();
            assert!(lacks.is_empty(), "{name} lacks {lacks:?}");
        }
        assert!(
            pages
                .iter()
                .any(|(name, _)| name == "man1/dvc-remote-check.1")
        );
    }

    #[test]
    fn pages_of_dvc_that_are_named_exist() {
        let pages = pages(&program())
            .map_err(|missing| missing.to_string())
            .unwrap();
        for (name, text) in &pages {
            let text = String::from_utf8_lossy(text)
                .replace("\\-", "-")
                .replace("\\fR", "")
                .replace("\\fB", "");
            for (at, _) in text.match_indices("dvc-") {
                let rest = &text[at..];
                let end = rest
                    .find(|c: char| !c.is_ascii_lowercase() && c != '-')
                    .unwrap_or(rest.len());
                let Some(section) = rest[end..]
                    .strip_prefix('(')
                    .and_then(|rest| rest.chars().next())
                else {
                    continue;
                };
                let file = format!("man{section}/{}.{section}", &rest[..end]);
                assert!(
                    pages.iter().any(|(name, _)| *name == file),
                    "{name} names {file}"
                );
            }
        }
    }

    #[test]
    fn a_synopsis_shows_what_is_needed() {
        let program = program();
        let remote = program
            .find_subcommand("remote")
            .unwrap()
            .find_subcommand("add")
            .unwrap();
        let of = |command: &Command| {
            synopsis(command)
                .replace("\\fB", "")
                .replace("\\fI", "")
                .replace("\\fR", "")
                .replace("\\~", " ")
                .replace("\\-", "-")
        };
        assert_eq!(of(remote), "[--lazy] [-n] NAME URL");
        let tag = of(program.find_subcommand("tag").unwrap());
        assert!(tag.starts_with("[-l] [-d] [-f] [-n] [NAME"), "{tag}");
        let commit = of(program.find_subcommand("commit").unwrap());
        assert!(
            commit.contains("[-m TEXT]...") && commit.contains("[--push[=REMOTE]]"),
            "{commit}"
        );
    }

    #[test]
    fn a_missing_section_is_named() {
        let mut page = Roff::page("x", 1, "y");
        let missing = take(&mut page, "x(1)", CLI, "No such heading", true).unwrap_err();
        assert!(missing.to_string().contains("`No such heading`"));
    }
}
