//! Measured forms are kept for later starts, and never harm one.

use std::collections::BTreeMap;
use std::fs;

use pydarts::cache::FormCache;
use pydarts::plan::Form;

#[test]
fn what_is_kept_is_known_to_the_same_setting_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new/forms.json");
    let cache = |setting: &str| FormCache::at(path.clone(), setting.to_owned());
    assert_eq!(cache("a").known(), BTreeMap::new());
    cache("a").keep("one", Form::Grouped).unwrap();
    cache("a").keep("two", Form::Edges).unwrap();
    cache("b").keep("one", Form::Edges).unwrap();
    let known = BTreeMap::from([("one".to_owned(), Form::Grouped), ("two".to_owned(), Form::Edges)]);
    assert_eq!(cache("a").known(), known);
    assert_eq!(cache("b").known(), BTreeMap::from([("one".to_owned(), Form::Edges)]));
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "a temporary file is left");
}

#[test]
fn a_damaged_cache_knows_nothing_and_is_written_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("forms.json");
    for damaged in ["", "{", "[1]", r#"{"a": {"one": "sideways"}}"#] {
        fs::write(&path, damaged).unwrap();
        let cache = FormCache::at(path.clone(), "a".to_owned());
        assert_eq!(cache.known(), BTreeMap::new(), "{damaged}");
        cache.keep("one", Form::Grouped).unwrap();
        assert_eq!(cache.known(), BTreeMap::from([("one".to_owned(), Form::Grouped)]));
    }
}

#[test]
fn a_cache_that_cannot_be_written_says_so_and_knows_nothing() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "").unwrap();
    let cache = FormCache::at(folder.path().join("file/forms.json"), "a".to_owned());
    assert!(cache.keep("one", Form::Grouped).is_err());
    assert_eq!(cache.known(), BTreeMap::new());
}
