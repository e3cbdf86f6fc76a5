//! `dvc import`: a version of a tar archive or an image, from a file, a pipe or a registry.

use crate::args::DryRun;
use crate::commands::commit;
use crate::failure::{Exit, Outcome};
use crate::session::Session;
use clap::{Args, ValueEnum};
use dvc::archive::image::split_url;
use dvc::error::Error;
use dvc::model::refname::RefName;
use dvc::model::text::harmless;
use dvc::ops::commit::CommitOptions;
use dvc::ops::import::{Format, From, ImportOptions, ImportReport, import};
use serde_json::json;
use std::ffi::OsString;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Instant;

/// Options of `import`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    dvc import v3.tar.gz -b AMCC -m 'from the old backup'\n  \
    docker save data:v3 | dvc import - -b AMCC\n  \
    dvc import oci://registry.example/team/example:latest --strip source -b example")]
pub(crate) struct ImportArgs {
    /// The archive; `-` is standard input, `oci://HOST/REPOSITORY:TAG` an image in a registry
    #[arg(value_name = "FILE|-|URL", value_hint = clap::ValueHint::FilePath)]
    pub(crate) from: OsString,
    /// The kind of archive
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = Kind::Auto)]
    pub(crate) format: Kind,
    /// Commit to that branch, which is created where it is missing
    #[arg(short, long, value_name = "NAME")]
    pub(crate) branch: Option<String>,
    /// The message; a second one begins a paragraph
    #[arg(short, long, value_name = "TEXT")]
    pub(crate) message: Vec<String>,
    /// Take only what lies below DIR in the archive, without DIR itself
    #[arg(long, value_name = "DIR")]
    pub(crate) strip: Option<OsString>,
    /// Take only this path, in place of what the last version has there, and keep the rest of that
    #[arg(long, value_name = "PATH")]
    pub(crate) path: Option<OsString>,
    /// Which image, where an archive holds several
    #[arg(long, value_name = "NAME[:TAG]")]
    pub(crate) image: Option<String>,
    /// Make a version even where nothing changed or the archive is empty
    #[arg(long)]
    pub(crate) allow_empty: bool,
    #[command(flatten)]
    pub(crate) dry: DryRun,
}

/// Kinds of archives.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Whatever it turns out to be
    Auto,
    /// A tar archive, plain or compressed by gzip or zstd
    Tar,
    /// An image: OCI image layout, or what `docker save` writes
    Oci,
}

/// Runs `import`.
pub(crate) fn run(session: &Session, args: &ImportArgs) -> Outcome {
    let begun = Instant::now();
    let place = session.place()?;
    let context = session.context(&place)?;
    let shown = args.from.to_string_lossy();
    let message = match args.message.join("\n\n").trim_end() {
        "" if args.from == "-" => "import".to_owned(),
        "" => format!("import {}", Path::new(&*shown).file_name().unwrap_or_default().to_string_lossy()),
        text => text.to_owned(),
    };
    let options = ImportOptions {
        format: match args.format {
            Kind::Auto => Format::Auto,
            Kind::Tar => Format::Tar,
            Kind::Oci => Format::Oci,
        },
        strip: args.strip.as_ref().map(|strip| strip.as_bytes().to_vec()),
        path: args.path.as_ref().map(|path| path.as_bytes().to_vec()),
        image: args.image.clone(),
        commit: CommitOptions {
            message,
            branch: args.branch.as_deref().map(RefName::new).transpose().map_err(Error::from)?,
            allow_empty: args.allow_empty,
            dry_run: session.dry_run(args.dry),
            ..CommitOptions::default()
        },
    };
    let progress = session.progress()?;
    let (remote, reference) = match shown.starts_with("oci://") {
        true => {
            let (url, reference) = split_url(&shown);
            (Some(session.unnamed(session.location(&url)?)?), reference)
        }
        false => (None, String::new()),
    };
    let act = || {
        if let Some(remote) = &remote {
            import(&context, &options, From::Registry(remote, &reference), &progress)
        } else if args.from == "-" {
            import(&context, &options, From::Stream(Box::new(std::io::stdin())), &progress)
        } else {
            import(&context, &options, From::File(Path::new(&args.from)), &progress)
        }
    };
    let (report, hook) =
        commit::around(session, &context, &options.commit, None, &progress, act, |report| &report.commit)?;
    drop(progress);
    let ImportReport { commit, members, left_out, below, digest } = &report;
    let more = [("members", json!(members)), ("left_out", json!(left_out)), ("digest", json!(digest))];
    commit::print_with(session, commit, options.commit.dry_run, begun.elapsed(), &more)?;
    if let Some(below) = below.as_ref().filter(|_| *left_out > 0 && !session.globals.json && session.globals.quiet == 0)
    {
        let mut out = session.plain_out();
        let entries = if *left_out == 1 { "entry" } else { "entries" };
        writeln!(out, " {left_out} {entries} outside of `{}` left out", harmless(below))?;
        out.finish()?;
    }
    hook.map_or(Ok(Exit::DONE), |failed| Err(Error::from(failed).into()))
}
