//! Checkpoints are restored bit for bit, only the newest two are kept, and other files are errors.
#![cfg(feature = "torch")]

use std::path::{Path, PathBuf};

use crate::common::{self, Formula, Whole};
use pydarts::arch::{Decision, LogitTable};
use pydarts::checkpoint::{self, Contents, Restored};
use pydarts::config::SearchConfig;
use pydarts::data::Batch;
use pydarts::error::{ErrorKind, Result};
use pydarts::event::EpochRecord;
use pydarts::relaxation::Restrictions;
use pydarts::search::{Fingerprint, Progress, State, Trajectory};
use tch::Tensor;

fn network(weights: usize) -> Formula<impl Fn(&Tensor, &Tensor, &Batch) -> Tensor> {
    Formula::new(weights, 2, |w: &Tensor, _: &Tensor, _: &Batch| w.sum(None))
}

/// Numbers whose decimal form is long, and a negative zero.
fn state() -> State {
    let mut state =
        State::new(Tensor::from_slice(&[0.1, -0.0, 1.0 / 3.0]), Tensor::from_slice(&[1e-300, 2.0])).unwrap();
    state.momentum = Tensor::from_slice(&[f64::MIN_POSITIVE, 1e300, -7.0]);
    state.moments.exp_avg = Tensor::from_slice(&[0.7, 0.2]);
    state.moments.step = 17;
    state.carried.train = Some(Tensor::from_slice(&[1.0 / 7.0, -0.0]).view([1, 2]));
    state
}

fn facts() -> Fingerprint {
    Fingerprint([("train.examples".to_owned(), "7".to_owned()), ("loss".to_owned(), "focal".to_owned())].into())
}

fn save(folder: &Path, step: u64) -> std::path::PathBuf {
    let points = vec![vec![0.1, 0.2], vec![0.3, 1.0 / 3.0]];
    let trajectory = Trajectory { steps: vec![0, step], epochs: vec![0, 1], points };
    let progress = Progress { step, epoch: 2, valid_index: 5, ..Progress::default() };
    write(folder, &progress, &trajectory, &Restrictions::new(&tables()), &[]).unwrap()
}

fn write(
    folder: &Path,
    progress: &Progress,
    trajectory: &Trajectory,
    restrictions: &Restrictions,
    decisions: &[(usize, Decision)],
) -> Result<PathBuf> {
    let (network, config, fingerprint, state) = (network(3), SearchConfig::default(), facts(), state());
    checkpoint::save(
        folder,
        &Contents {
            network: &network,
            config: &config,
            fingerprint: &fingerprint,
            state: &state,
            carried: &state.carried,
            ranks: 1,
            progress,
            trajectory,
            restrictions,
            decisions,
            selection: None,
        },
    )
}

fn tables() -> Vec<LogitTable> {
    Whole::identity(&network(3)).relaxations.tables().to_vec()
}

fn load(path: &Path, weights: usize) -> Result<Restored> {
    checkpoint::load(path, &network(weights), &tables())
}

fn bits(t: &Tensor) -> Vec<u64> {
    Vec::<f64>::try_from(t).unwrap().into_iter().map(f64::to_bits).collect()
}

#[test]
fn everything_is_restored_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    let path = save(folder.path(), 17);
    let restored = load(&path, 3).unwrap();
    let (found, expected) = (restored.state, state());
    assert_eq!(bits(&found.w), bits(&expected.w));
    assert_eq!(bits(&found.alpha), bits(&expected.alpha));
    assert_eq!(bits(&found.momentum), bits(&expected.momentum));
    assert_eq!(bits(&found.moments.exp_avg), bits(&expected.moments.exp_avg));
    assert_eq!(bits(&found.moments.exp_avg_sq), bits(&expected.moments.exp_avg_sq));
    assert_eq!((found.moments.step, found.step), (17, 17));
    assert_eq!((restored.progress.epoch, restored.progress.valid_index), (2, 5));
    assert_eq!(restored.trajectory.points[1], [0.3, 1.0 / 3.0]);
    assert_eq!(restored.trajectory.steps, [0, 17]);
    assert_eq!(restored.trajectory.epochs, [0, 1]);
    assert_eq!(restored.config, SearchConfig::default());
    assert_eq!(checkpoint::load_config(&path).unwrap(), (restored.config, facts()));
}

#[test]
fn a_loss_of_nan_is_restored_as_nan() {
    let folder = tempfile::tempdir().unwrap();
    let record = EpochRecord {
        epoch: 0,
        train_loss: f64::INFINITY,
        valid_loss: f64::NAN,
        train_accuracy: Some(0.5),
        valid_accuracy: Some(0.25),
        learning_rate: 0.1,
        entropy: [("normal".to_owned(), 1.0)].into(),
        skip_connections: Some(1),
        seconds: 2.0,
        metrics: [("mae".to_owned(), f64::NAN), ("f1".to_owned(), 0.75)].into(),
        diagnostics: [("temperature".to_owned(), 1.0 / 3.0), ("curvature".to_owned(), f64::NAN)].into(),
    };
    let mut progress = Progress { step: 1, epoch: 1, history: vec![record], ..Progress::default() };
    progress.sums.loss = f64::NAN;
    let trajectory = Trajectory { steps: vec![0], epochs: vec![0], points: vec![vec![0.1, 0.2]] };
    let path = write(folder.path(), &progress, &trajectory, &Restrictions::new(&tables()), &[]).unwrap();
    let found = load(&path, 3).unwrap().progress;
    assert!(found.history[0].valid_loss.is_nan() && found.sums.loss.is_nan());
    let metrics = &found.history[0].metrics;
    assert!(metrics["mae"].is_nan() && metrics.get_index(1) == Some((&"f1".to_owned(), &0.75)));
    assert_eq!((found.history[0].train_accuracy, found.history[0].entropy["normal"]), (Some(0.5), 1.0));
}

#[test]
fn the_newest_two_are_kept_and_leftovers_of_killed_writes_are_removed() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("checkpoint-0000000001.tmp"), b"half").unwrap();
    std::fs::write(folder.path().join("notes.txt"), b"mine").unwrap();
    std::fs::write(folder.path().join("checkpoint-best.safetensors"), b"mine too").unwrap();
    for step in [3, 9, 10, 11] {
        save(folder.path(), step);
    }
    let mut names: Vec<String> =
        std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    let kept = ["checkpoint-0000000010.safetensors", "checkpoint-0000000011.safetensors"];
    assert_eq!(names, [&kept[..], &["checkpoint-best.safetensors", "notes.txt"]].concat());
    let found = checkpoint::checkpoints(folder.path()).unwrap();
    assert_eq!(found, kept.map(|name| folder.path().join(name)), "somebody's copy is none of ours");
}

#[test]
fn every_truncation_is_a_checkpoint_error_and_never_a_panic() {
    let folder = tempfile::tempdir().unwrap();
    let path = save(folder.path(), 1);
    let bytes = std::fs::read(&path).unwrap();
    for length in (0..bytes.len()).step_by(7) {
        std::fs::write(&path, &bytes[..length]).unwrap();
        let error = load(&path, 3).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Checkpoint, "{length} bytes: {error}");
        assert!(error.detail.contains("checkpoint-0000000001"), "{error}");
    }
}

#[test]
fn another_network_another_file_and_no_file_are_different_errors() {
    let folder = tempfile::tempdir().unwrap();
    let path = save(folder.path(), 1);
    let other = load(&path, 4).unwrap_err();
    assert_eq!(other.kind, ErrorKind::Checkpoint);
    assert!(other.detail.contains("w has shape [3, 1], expected [4, 1]"), "{other}");
    let missing = load(&folder.path().join("none"), 3).unwrap_err();
    assert_eq!(missing.kind, ErrorKind::NotFound);
    std::fs::write(&path, b"not a checkpoint at all, just some text that is long enough").unwrap();
    assert_eq!(load(&path, 3).unwrap_err().kind, ErrorKind::Checkpoint);
    assert_eq!(checkpoint::load_config(&path).unwrap_err().kind, ErrorKind::Checkpoint);
    assert!(checkpoint::checkpoints(&folder.path().join("absent")).unwrap().is_empty());
}

#[test]
fn a_changed_byte_is_a_checkpoint_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = save(folder.path(), 17);
    let whole = std::fs::read(&path).unwrap();
    for at in (0..whole.len()).step_by(7) {
        let mut changed = whole.clone();
        changed[at] ^= 0x20;
        std::fs::write(&path, &changed).unwrap();
        let error = load(&path, 3).err().unwrap();
        assert_eq!(error.kind, ErrorKind::Checkpoint, "byte {at}: {error}");
        assert!(error.detail.contains("checkpoint-0000000017"), "{error}");
        assert!(checkpoint::load_config(&path).is_err(), "byte {at}");
    }
}

#[test]
fn a_checkpoint_of_format_2_needs_no_checksum() {
    let folder = tempfile::tempdir().unwrap();
    let path = save(folder.path(), 17);
    let whole = std::fs::read(&path).unwrap();
    let replaced = |bytes: &[u8], from: &[u8], to: &[u8]| {
        let at = bytes.windows(from.len()).position(|window| window == from).unwrap();
        [&bytes[..at], to, &bytes[at + from.len()..]].concat()
    };
    let without = |bytes: &[u8]| replaced(bytes, b"\"crc32\"", b"\"other\"");
    let older = replaced(&whole, b"checkpoint-3", b"checkpoint-2");
    std::fs::write(&path, without(&older)).unwrap();
    assert_eq!(load(&path, 3).unwrap().progress.step, 17);
    // One of the two changes alone does not turn the check off.
    for changed in [without(&whole), older] {
        std::fs::write(&path, changed).unwrap();
        assert_eq!(load(&path, 3).err().unwrap().kind, ErrorKind::Checkpoint);
    }
}

#[test]
fn tensors_of_unknown_sorts_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let path = save(folder.path(), 17);
    let whole = std::fs::read(&path).unwrap();
    let (_, metadata) = safetensors::SafeTensors::read_metadata(&whole).unwrap();
    // Format 2 has no checksum.
    let mut about = metadata.metadata().clone().unwrap();
    about.remove("crc32");
    let header = about.get_mut("pydarts").unwrap();
    *header = header.replace("checkpoint-3", "checkpoint-2");
    let file = safetensors::SafeTensors::deserialize(&whole).unwrap();
    for (group, accepted) in [("carried/", true), ("curried/", false), ("alphas/", false)] {
        let tensors = file.iter().map(|(name, view)| (name.replacen("carried/", group, 1), view));
        std::fs::write(&path, safetensors::serialize(tensors, Some(about.clone())).unwrap()).unwrap();
        let error = load(&path, 3).err();
        assert_eq!(error.as_ref().map(|error| error.kind), (!accepted).then_some(ErrorKind::Checkpoint), "{group}");
        assert!(error.is_none_or(|error| error.detail.contains(group)));
    }
}

#[test]
fn temporary_files_are_removed_before_writing_and_after_a_failure() {
    let folder = tempfile::tempdir().unwrap();
    let left = folder.path().join("checkpoint-0000000003.tmp");
    std::fs::write(&left, b"from a killed write").unwrap();
    // A folder at the place of the checkpoint makes the rename fail.
    let blocked = folder.path().join("checkpoint-0000000017.safetensors");
    std::fs::create_dir(&blocked).unwrap();
    std::fs::write(blocked.join("file"), b"").unwrap();
    let trajectory = Trajectory { steps: vec![0], epochs: vec![0], points: vec![vec![0.1, 0.2]] };
    let progress = Progress { step: 17, ..Progress::default() };
    let result = write(folder.path(), &progress, &trajectory, &Restrictions::new(&tables()), &[]);
    assert_eq!(result.unwrap_err().kind, ErrorKind::Io);
    let names: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["checkpoint-0000000017.safetensors"]);
}

#[test]
fn facts_that_differ_or_are_missing_are_named_and_no_facts_differ_from_none() {
    let mine =
        Fingerprint([("loss".to_owned(), "mse".to_owned()), ("valid.shape".to_owned(), "[2]".to_owned())].into());
    let row = |name: &str, ours: &str, theirs: &str| (name.to_owned(), ours.to_owned(), theirs.to_owned());
    assert_eq!(
        mine.differences(&facts()),
        [row("loss", "mse", "focal"), row("train.examples", "nothing", "7"), row("valid.shape", "[2]", "nothing")]
    );
    assert!(facts().differences(&facts()).is_empty());
    assert!(facts().differences(&Fingerprint::default()).is_empty(), "a checkpoint of an earlier version");
}

fn progress() -> Progress {
    Progress { step: 17, epoch: 2, ..Progress::default() }
}

fn trajectory() -> Trajectory {
    Trajectory { steps: vec![0, 17], epochs: vec![0, 1], points: vec![vec![0.1, 0.2], vec![0.3, 1.0 / 3.0]] }
}

/// Two tables of two rows and three columns, the second row of the first with padding.
fn wide() -> Vec<LogitTable> {
    let mut ragged = common::table("ragged", 2, 3);
    ragged.rows[1].candidates = ragged.rows[1].candidates[..2].into();
    vec![ragged, common::table("full", 2, 3)]
}

#[test]
fn masks_frozen_rows_and_decisions_are_restored() {
    let folder = tempfile::tempdir().unwrap();
    let decisions = [
        (0, Decision::Mask { table: "ragged".into(), row: 0, columns: vec![1] }),
        (0, Decision::Freeze { table: "full".into(), row: 1, column: 2 }),
        (1, Decision::RollBack { epoch: 1 }),
        (0, Decision::Drop { table: "full".into(), row: 0 }),
        (1, Decision::Stop { reason: "why".into() }),
    ];
    let mut restrictions = Restrictions::new(&wide());
    decisions.iter().for_each(|(_, decision)| restrictions.apply(decision).unwrap());
    let path = write(folder.path(), &progress(), &trajectory(), &restrictions, &decisions).unwrap();
    let found = checkpoint::load(&path, &network(3), &wide()).unwrap();
    assert_eq!((found.restrictions, &found.decisions[..]), (restrictions, &decisions[..]));
}

#[test]
fn tables_without_masks_and_frozen_rows_have_no_tensors() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), &progress(), &trajectory(), &Restrictions::new(&wide()), &[]).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let names = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert!(names.names().iter().all(|name| !name.starts_with("relaxation/")));
    assert_eq!(checkpoint::load(&path, &network(3), &wide()).unwrap().restrictions, Restrictions::new(&wide()));
}

#[test]
fn masks_and_frozen_rows_that_contradict_themselves_or_the_tables_are_errors() {
    type Damage = fn(&mut Restrictions);
    let damages: [(&str, Damage); 8] = [
        ("row 1", |r| r.states[1].mask[3..].fill(false)),
        ("NaN", |r| r.states[1].frozen_value[0] = f64::NAN),
        ("row 0, column 1", |r| r.states[1].frozen_value[1] = 1.0),
        ("inf", |r| (r.states[1].frozen[1], r.states[1].frozen_value[5]) = (true, f64::INFINITY)),
        ("column 2", |r| r.states[0].mask[5] = true),
        ("column 1", |r| {
            r.states[1].mask[1] = false;
            (r.states[1].frozen[0], r.states[1].frozen_value[1]) = (true, 1.0);
        }),
        ("other", |r| {
            r.tables[1].name = "other".to_owned();
            r.states[1].frozen[0] = true;
        }),
        ("[2, 3]", |r| {
            r.tables[1] = common::table("full", 3, 3);
            r.states[1] = pydarts::relaxation::TableState::new(&r.tables[1]);
            r.states[1].frozen[0] = true;
        }),
    ];
    for (names, damage) in damages {
        let folder = tempfile::tempdir().unwrap();
        let mut restrictions = Restrictions::new(&wide());
        damage(&mut restrictions);
        let path = write(folder.path(), &progress(), &trajectory(), &restrictions, &[]).unwrap();
        let error = checkpoint::load(&path, &network(3), &wide()).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Checkpoint, "{names}: {error}");
        assert!(error.detail.contains(names) && error.detail.contains("checkpoint-0000000017"), "{names}: {error}");
    }
}

#[test]
fn epochs_of_an_earlier_trajectory_follow_from_its_steps() {
    let within = Progress { step: 11, epoch: 2, step_in_epoch: 3, ..Progress::default() };
    assert_eq!([0, 1, 4, 5, 8, 9, 11].map(|step| within.epoch_of(step)), [0, 0, 0, 1, 1, 2, 2]);
    let between = Progress { step: 8, epoch: 2, ..Progress::default() };
    assert_eq!([0, 4, 5, 8].map(|step| between.epoch_of(step)), [0, 0, 1, 1]);
    assert_eq!(Progress { step: 3, step_in_epoch: 3, ..Progress::default() }.epoch_of(3), 0);
}
