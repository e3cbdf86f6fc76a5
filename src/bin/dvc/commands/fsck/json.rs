//! The JSON object of `dvc fsck`.

use crate::render::JsonPath;
use dvc::check::rebuild::RebuildReport;
use dvc::check::repair::{RepairReport, RepairedRef, SourceShare, UnrepairedRef};
use dvc::check::report::{CheckReport, Reach};
use dvc::ops::fsck::FsckReport;
use serde::Serialize;

#[derive(Serialize)]
struct JsonReach {
    #[serde(flatten)]
    path: JsonPath,
    directory: bool,
    versions: Vec<String>,
}

#[derive(Serialize)]
pub(super) struct JsonFsck<'a> {
    sound: bool,
    checked: JsonChecked,
    data: Option<JsonReadData>,
    damage: Vec<JsonDamage<'a>>,
    more_objects: u64,
    unknown: u64,
    lost: JsonLost,
    versions: Vec<JsonNamedVersion<'a>>,
    reaches: Vec<JsonReach>,
    notes: &'a [String],
    marker: Option<JsonMarker<'a>>,
    rebuild: Option<JsonRebuild<'a>>,
    repair: Option<JsonRepair<'a>>,
    seconds: f64,
}

#[derive(Serialize)]
struct JsonChecked {
    refs: u64,
    entries: u64,
    versions: u64,
    trees: u64,
    lists: u64,
    chunks: u64,
    segments: u64,
    rows: u64,
    packs: u64,
}

#[derive(Serialize)]
struct JsonReadData {
    packs: u64,
    bytes: u64,
    uncompressed_bytes: u64,
    total_packs: u64,
    total_bytes: u64,
    out_of_time: bool,
}

#[derive(Serialize)]
struct JsonDamage<'a> {
    kind: &'static str,
    key: &'a str,
    detail: &'a str,
}

#[derive(Serialize)]
struct JsonLost {
    chunks: u64,
    lists: u64,
    trees: u64,
    commits: u64,
}

#[derive(Serialize)]
struct JsonNamedVersion<'a> {
    name: &'a str,
    id: String,
}

#[derive(Serialize)]
struct JsonMarker<'a> {
    id: &'a str,
    new: bool,
}

#[derive(Serialize)]
struct JsonRebuild<'a> {
    packs: u64,
    objects: u64,
    baseless: u64,
    segments: u64,
    replaced: u64,
    versions: u64,
    trashed_states: &'a [String],
    salvaged: Vec<JsonSalvagedPack<'a>>,
}

#[derive(Serialize)]
struct JsonSalvagedPack<'a> {
    key: &'a str,
    detail: &'a str,
    objects: u64,
}

/// Returns the JSON object of a report.
pub(super) fn as_json(report: &FsckReport, dry_run: bool, seconds: f64) -> JsonFsck<'_> {
    let CheckReport {
        checked: n,
        data,
        damage,
        more_objects,
        lost,
        versions,
        reaches,
        notes,
        ..
    } = &report.check;

    let reach = |r: &Reach| {
        let versions = r
            .versions
            .iter()
            .flat_map(|run| versions.get(run.clone()).unwrap_or_default());
        let versions = versions.map(|v| v.name.clone()).collect();
        JsonReach {
            path: JsonPath::new(&r.path),
            directory: r.directory,
            versions,
        }
    };
    JsonFsck {
        sound: report.check.is_sound(),
        checked: JsonChecked {
            refs: n.refs,
            entries: n.entries,
            versions: n.versions,
            trees: n.trees,
            lists: n.lists,
            chunks: n.chunks,
            segments: n.segments,
            rows: n.rows,
            packs: n.packs,
        },
        data: data.map(|d| JsonReadData {
            packs: d.packs,
            bytes: d.bytes,
            uncompressed_bytes: d.plain_bytes,
            total_packs: d.of_packs,
            total_bytes: d.of_bytes,
            out_of_time: d.out_of_time,
        }),
        damage: damage
            .iter()
            .map(|d| JsonDamage {
                kind: d.what.name(),
                key: &d.key,
                detail: &d.why,
            })
            .collect(),
        more_objects: *more_objects,
        unknown: report.check.unknown,
        lost: JsonLost {
            chunks: lost.chunks,
            lists: lost.lists,
            trees: lost.trees,
            commits: lost.commits,
        },
        versions: versions
            .iter()
            .map(|v| JsonNamedVersion {
                name: &v.name,
                id: v.id.to_string(),
            })
            .collect(),
        reaches: reaches.iter().map(reach).collect(),
        notes,
        marker: report.marker.as_ref().map(|m| JsonMarker {
            id: &m.id,
            new: m.is_new,
        }),
        rebuild: report.rebuild.as_ref().map(rebuild_json),
        repair: report
            .repair
            .as_ref()
            .map(|repair| repair_json(repair, dry_run)),
        seconds,
    }
}

fn rebuild_json(made: &RebuildReport) -> JsonRebuild<'_> {
    let salvaged = made.salvaged.iter();
    JsonRebuild {
        packs: made.packs,
        objects: made.objects,
        baseless: made.baseless,
        segments: made.segments,
        replaced: made.replaced,
        versions: made.versions,
        trashed_states: &made.put_aside,
        salvaged: salvaged
            .map(|s| JsonSalvagedPack {
                key: &s.key,
                detail: &s.why,
                objects: s.objects,
            })
            .collect(),
    }
}

#[derive(Serialize)]
struct JsonRepair<'a> {
    objects: u64,
    packs: u64,
    segments: u64,
    entries: u64,
    sources: Vec<JsonSourceShare<'a>>,
    refs: Vec<JsonRepairedRef<'a>>,
    unrepaired_refs: Vec<JsonUnrepairedRef<'a>>,
    replaced_packs: &'a [String],
    dry_run: bool,
}

#[derive(Serialize)]
struct JsonSourceShare<'a> {
    name: &'a str,
    packs: u64,
    segments: u64,
    objects: u64,
    bytes: u64,
}

#[derive(Serialize)]
struct JsonRepairedRef<'a> {
    kind: &'static str,
    name: &'a str,
    version: Option<String>,
    source: &'a str,
}

#[derive(Serialize)]
struct JsonUnrepairedRef<'a> {
    log: &'a str,
    previous: Option<String>,
}

fn repair_json(report: &RepairReport, dry_run: bool) -> JsonRepair<'_> {
    fn source(s: &SourceShare) -> JsonSourceShare<'_> {
        let SourceShare {
            name,
            packs,
            segments,
            objects,
            bytes,
        } = s;
        JsonSourceShare {
            name,
            packs: *packs,
            segments: *segments,
            objects: *objects,
            bytes: *bytes,
        }
    }
    fn repaired(r: &RepairedRef) -> JsonRepairedRef<'_> {
        let version = r.id.map(|id| id.to_string());
        JsonRepairedRef {
            kind: r.kind.name(),
            name: &r.name,
            version,
            source: &r.source,
        }
    }
    fn unrepaired(r: &UnrepairedRef) -> JsonUnrepairedRef<'_> {
        JsonUnrepairedRef {
            log: &r.log,
            previous: r.previous.map(|id| id.to_string()),
        }
    }
    JsonRepair {
        objects: report.objects,
        packs: report.packs,
        segments: report.segments,
        entries: report.entries,
        sources: report.sources.iter().map(source).collect(),
        refs: report.refs.iter().map(repaired).collect(),
        unrepaired_refs: report.unrepaired_refs.iter().map(unrepaired).collect(),
        replaced_packs: &report.replaced_packs,
        dry_run,
    }
}
