//! Errors: what they say, and what stands below them.

use std::error::Error as _;

use proptest::prelude::*;
use pydarts::error::{Error, ErrorKind, unknown};
use pydarts::suggest::suggestions;

#[test]
fn an_error_shows_its_detail_and_keeps_what_failed_below() {
    let below = std::io::Error::other("disk full");
    let error = Error::new(ErrorKind::Io, "the checkpoint was not written; free some space").with_source(below);
    assert_eq!(error.to_string(), "the checkpoint was not written; free some space");
    assert_eq!(error.kind, ErrorKind::Io);
    assert_eq!(error.source().map(ToString::to_string), Some("disk full".to_string()));
}

#[test]
fn every_kind_stands_in_the_list_of_all_once() {
    let mut seen = std::collections::HashSet::new();
    assert!(ErrorKind::ALL.iter().all(|kind| seen.insert(*kind)));
    // A new kind does not compile here until it has its place, and then the list must grow with it.
    let place = |kind: &ErrorKind| match kind {
        ErrorKind::Config => 0,
        ErrorKind::Space => 1,
        ErrorKind::Genotype => 2,
        ErrorKind::Data => 3,
        ErrorKind::Numerical => 4,
        ErrorKind::Checkpoint => 5,
        ErrorKind::Device => 6,
        ErrorKind::OutOfMemory => 7,
        ErrorKind::Ranks => 8,
        ErrorKind::Interrupted => 9,
        ErrorKind::NotFound => 10,
        ErrorKind::Io => 11,
        ErrorKind::Engine => 12,
        ErrorKind::Foreign => 13,
    };
    assert_eq!(ErrorKind::ALL.iter().map(place).collect::<Vec<_>>(), (0..14).collect::<Vec<_>>());
}

#[test]
fn a_constructor_gives_the_kind_of_its_name() {
    let made = [
        (Error::config("x"), ErrorKind::Config),
        (Error::space("x"), ErrorKind::Space),
        (Error::genotype("x"), ErrorKind::Genotype),
        (Error::data("x"), ErrorKind::Data),
        (Error::numerical("x"), ErrorKind::Numerical),
        (Error::checkpoint("x"), ErrorKind::Checkpoint),
        (Error::device("x"), ErrorKind::Device),
        (Error::engine("x"), ErrorKind::Engine),
    ];
    assert!(made.iter().all(|(error, kind)| error.kind == *kind));
}

#[test]
fn an_unknown_name_is_answered_with_the_nearest_known_one() {
    let known = ["darts", "darts-rnn"];
    assert_eq!(unknown("space", "dart", &known), "unknown space `dart`; did you mean `darts`? known: darts, darts-rnn");
    assert_eq!(unknown("space", "DARTS", &known), unknown("space", "dart", &known).replace("`dart`", "`DARTS`"));
    assert_eq!(unknown("space", "nasbench", &known), "unknown space `nasbench`; known: darts, darts-rnn");
}

#[test]
fn names_of_other_libraries_and_parts_of_names_lead_to_the_known_ones() {
    let search =
        ["weight_lr", "weight_lr_min", "arch_lr", "epochs", "batch_size", "channels", "grad_clip", "hypergradient"];
    let operations = ["none", "skip_connect", "max_pool_3x3", "sep_conv_3x3", "conv_3x3"];
    let rows: &[(&str, &[&str], &[&str])] = &[
        ("lr", &search, &["weight_lr", "arch_lr"]),
        ("learning_rate", &search, &["weight_lr", "arch_lr"]),
        ("lr", &["weight_lr", "epochs"], &["weight_lr"]),
        ("batchsize", &search, &["batch_size"]),
        ("BatchSize", &search, &["batch_size"]),
        ("epoch", &["arch_start_epoch", "epochs"], &["epochs"]),
        ("n_epochs", &search, &["epochs"]),
        ("num_epochs", &search, &["epochs"]),
        ("max_epochs", &search, &["epochs"]),
        ("init_channels", &search, &["channels"]),
        ("gradient_clip_val", &search, &["grad_clip"]),
        ("unrolled", &search, &["hypergradient"]),
        ("second_order", &["first_order", "unrolled", "unrolled_exact"], &["unrolled"]),
        ("first", &["first_order", "unrolled"], &["first_order"]),
        ("skip", &operations, &["skip_connect"]),
        ("identity", &operations, &["skip_connect"]),
        ("nor_conv_3x3", &operations, &["conv_3x3"]),
        ("zeroize", &operations, &["none"]),
        ("xyzzy", &search, &[]),
        ("", &search, &[]),
        ("_", &search, &[]),
    ];
    for (given, known, meant) in rows {
        assert_eq!(suggestions(given, known), *meant, "{given}");
    }
    assert!(suggestions("3x3", &["a_3x3", "b_3x3", "c_3x3", "d_3x3"]).len() <= 3);
}

#[test]
fn every_suggestion_is_named_once() {
    let text = unknown("option", "lr", &["weight_lr", "arch_lr"]);
    assert!(text.contains("`weight_lr` or `arch_lr`"), "{text}");
}

#[test]
fn a_long_unknown_name_is_cut() {
    let text = unknown("space", &"x".repeat(100_000), &["darts"]);
    assert!(text.chars().count() < 200, "{} characters", text.chars().count());
}

proptest! {
    #[test]
    fn any_name_can_be_unknown(given: String) {
        prop_assert!(unknown("space", &given, &["darts", "darts-rnn"]).starts_with("unknown space `"));
    }
}
