//! Events: records survive JSON bit for bit, and names of kinds are unique.

use std::collections::{BTreeMap, BTreeSet};

use pydarts::event::{EpochRecord, EventKind, Status};

fn record() -> EpochRecord {
    EpochRecord {
        epoch: 3,
        train_loss: 0.1 + 0.2,
        valid_loss: f64::MIN_POSITIVE,
        train_accuracy: Some(1.0 / 3.0),
        valid_accuracy: Some(0.0),
        learning_rate: 0.025,
        entropy: BTreeMap::from([("normal".to_string(), 8f64.ln())]),
        skip_connections: Some(2),
        seconds: 1e9,
        metrics: [("rmse".to_string(), 1.0 / 7.0), ("mae".to_string(), 0.5)].into(),
        diagnostics: [("temperature".to_string(), 1.0 / 3.0)].into(),
    }
}

#[test]
fn the_record_of_an_epoch_keeps_every_bit_through_json() {
    let epoch = record();
    let text = serde_json::to_string(&epoch).unwrap();
    let read: EpochRecord = serde_json::from_str(&text).unwrap();
    assert_eq!(read, epoch);
    assert!(read.metrics.keys().eq(["rmse", "mae"]));
}

#[test]
fn metrics_are_written_where_there_are_any_and_may_be_nan() {
    let mut epoch = record();
    epoch.metrics.clear();
    let text = serde_json::to_string(&epoch).unwrap();
    assert!(!text.contains("metrics"));
    assert_eq!(serde_json::from_str::<EpochRecord>(&text).unwrap(), epoch);
    epoch.metrics = [("f1".to_string(), f64::NAN), ("mae".to_string(), f64::INFINITY)].into();
    let read: EpochRecord = serde_json::from_str(&serde_json::to_string(&epoch).unwrap()).unwrap();
    assert!(read.metrics.keys().eq(["f1", "mae"]) && read.metrics.values().all(|value| value.is_nan()));
}

#[test]
fn a_status_is_written_in_lower_case() {
    let written = |status: Status| serde_json::to_string(&status).unwrap();
    assert_eq!(written(Status::Complete), "\"complete\"");
    assert_eq!(written(Status::Interrupted), "\"interrupted\"");
    assert_eq!(written(Status::Failed), "\"failed\"");
}

#[test]
fn kinds_of_events_have_different_names() {
    let names: BTreeSet<&str> = EventKind::ALL.into_iter().map(EventKind::name).collect();
    assert_eq!(names.len(), EventKind::ALL.len());
}
