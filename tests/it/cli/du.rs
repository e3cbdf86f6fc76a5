//! `dvc du`.

use super::three;

#[test]
fn branches_versions_and_the_whole() {
    let s = three();
    s.dvc(["du"])
        .ok()
        .says("branch versions")
        .says("main          3")
        .says("repository: ");
    let json = s.dvc(["du", "--json"]).ok().json();
    let main = &json["branches"][0];
    assert_eq!(
        (&main["versions"], &main["bytes"]),
        (&3.into(), &300_009.into())
    );
    assert!(json["repository"]["pack_bytes"].as_u64().unwrap() > 0);
    let json = s.dvc(["du", "--json", "main~2.."]).ok().json();
    let ordinals: Vec<_> = json["versions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v["ordinal"].clone())
        .collect();
    assert_eq!(ordinals, [3, 2]);
    s.dvc(["du", "main@v1"]).ok().says("first");
    s.dvc(["du", "none"]).code(13);
}

#[test]
fn a_path_is_refused() {
    three()
        .dvc(["du", "@:a.txt"])
        .code(2)
        .complains("`@:a.txt` names a path");
}
