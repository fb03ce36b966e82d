//! Decisions at the end of an epoch: what they change, that they survive a kill at any moment, and roll backs.
#![cfg(feature = "torch")]

use std::path::Path;

use crate::capture::{FakeGraphs, Search, Seen, assert_same, on_words, search};
use pydarts::arch::{Architecture, Decision, LogitTable, Pick};
use pydarts::config::{Method, SearchConfig};
use pydarts::decide::{self, AtEpochEnd, Decide, Stop};
use pydarts::error::{ErrorKind, Result};
use pydarts::event::{EpochRecord, Status};
use pydarts::relaxation::{Restrictions, TableState, shown_over_time};
use pydarts::space::Space;
use pydarts::variant::{Spec, Variant};
use serde_json::{Value, json};
use tempfile::TempDir;

const STEPS: usize = 3;

/// Decides what a function of the epoch's end says.
struct By<F> {
    keeps: usize,
    says: F,
}

impl<F: Sync> Variant for By<F> {
    fn spec(&self) -> &'static Spec {
        &Spec { name: "by", parameters: &[] }
    }
}

impl<F: Fn(&AtEpochEnd) -> Vec<Decision> + Sync> Decide for By<F> {
    fn keeps(&self, _: &[f64], _: Option<usize>) -> usize {
        self.keeps
    }

    fn decide(&self, at: &AtEpochEnd, _values: &[f64]) -> Result<Vec<Decision>> {
        Ok((self.says)(at))
    }
}

fn by(keeps: usize, says: impl Fn(&AtEpochEnd) -> Vec<Decision> + Sync + 'static) -> Stop {
    // A rule lives as long as the program; a test may leak a few.
    Stop::new(Box::leak(Box::new(By { keeps, says })))
}

/// At the end of an epoch, decisions that are taken once.
pub fn once(keeps: usize, script: Vec<(usize, Vec<Decision>)>) -> Stop {
    by(keeps, move |at| {
        let due = script.iter().find(|(epoch, decisions)| *epoch == at.epoch && !taken(at, &decisions[0]));
        due.map(|(_, decisions)| decisions.clone()).unwrap_or_default()
    })
}

fn taken(at: &AtEpochEnd, decision: &Decision) -> bool {
    at.decisions.iter().any(|(_, other)| other == decision)
}

fn mask(row: usize, columns: &[usize]) -> Decision {
    Decision::Mask { table: "normal".into(), row, columns: columns.to_vec() }
}

fn freeze(row: usize, column: usize) -> Decision {
    Decision::Freeze { table: "reduce".into(), row, column }
}

fn dropped(row: usize) -> Decision {
    Decision::Drop { table: "normal".into(), row }
}

fn back(epoch: usize) -> Decision {
    Decision::RollBack { epoch }
}

fn stop() -> Decision {
    Decision::Stop { reason: "the test says so".into() }
}

/// A short search: 3 operations, 2 nodes, so that tables have 5 rows and 3 columns.
pub fn short(changes: Value, deciders: Vec<Stop>) -> Search {
    let mut options = json!({
        "epochs": 5, "hypergradient": "first_order",
        "relaxation": {"name": "softmax", "temperature": {"name": "linear", "start": 2.0, "end": 0.5}},
    });
    options.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    let mut short = search(options);
    short.train = crate::capture::batches("train", &[4; STEPS]);
    short.valid = crate::capture::batches("valid", &[4; 4]);
    short.deciders = deciders;
    short
}

fn run(changes: Value, deciders: Vec<Stop>) -> Seen {
    short(changes, deciders).run(None)
}

/// Flat entries of row `row` of the table with number `table`.
fn row(table: usize, row: usize) -> std::ops::Range<usize> {
    let first = table * 15 + row * 3;
    first..first + 3
}

/// Points of the trajectory after the end of an epoch.
fn after(seen: &Seen, epoch: usize) -> Vec<Vec<f64>> {
    let trajectory = &seen.outcome.trajectory;
    let points = trajectory.points.iter().zip(&trajectory.steps);
    points.filter(|(_, step)| **step as usize > (epoch + 1) * STEPS).map(|(point, _)| point.clone()).collect()
}

#[test]
fn masked_logits_are_zero_from_their_decision_on_and_so_are_their_moments() {
    let seen = run(json!({}), vec![once(0, vec![(1, vec![mask(2, &[1, 2])])])]);
    let later = after(&seen, 1);
    assert_eq!(later.len(), 3 * STEPS);
    let span = row(0, 2);
    assert!(later.iter().all(|point| point[span.start + 1..span.end] == [0.0, 0.0]));
    assert!(later.windows(2).any(|pair| pair[0][span.start - 1] != pair[1][span.start - 1]), "others move");
    let before = &seen.outcome.trajectory.points[2 * STEPS];
    assert!(before[span.start + 1..span.end].iter().all(|logit| *logit != 0.0));
    let moments = &seen.outcome.state.moments;
    for tensor in [&seen.outcome.state.alpha, &moments.exp_avg, &moments.exp_avg_sq] {
        let values: Vec<f64> = tensor.to_kind(tch::Kind::Double).try_into().unwrap();
        assert_eq!(values[span.start + 1..span.end], [0.0, 0.0]);
    }
    assert_eq!(seen.outcome.decisions, [(1, mask(2, &[1, 2]))]);
}

#[test]
fn frozen_and_dropped_rows_rest_and_have_constant_strengths() {
    let seen = run(json!({}), vec![once(0, vec![(0, vec![freeze(3, 1), dropped(4)])])]);
    let later = after(&seen, 0);
    let start = &seen.outcome.trajectory.points[STEPS];
    for span in [row(1, 3), row(0, 4)] {
        assert!(later.iter().all(|point| point[span.clone()] == start[span.clone()]), "{span:?}");
    }
    let strengths = seen.outcome.restrictions.strengths(&Default::default(), (4, 5), &later[0]);
    assert_eq!(strengths[1].1.row(3).to_vec(), [0.0, 1.0, 0.0]);
    assert_eq!(strengths[0].1.row(4).to_vec(), [0.0; 3]);
    // A dropped edge is not picked, and a frozen row only for its candidate.
    assert!(seen.outcome.architecture.picks("normal").iter().all(|pick| pick.row != 4));
    assert!(seen.outcome.architecture.picks("reduce").iter().all(|pick| pick.row != 3 || pick.column == 1));
}

#[test]
fn decisions_are_taken_on_the_epoch_that_ended() {
    let epochs = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = std::sync::Arc::clone(&epochs);
    let watch = by(0, move |at| {
        assert_eq!(at.history.len(), at.epoch + 1);
        assert_eq!((at.epochs, at.seed, at.tables.len(), at.states.len()), (5, 0, 2, 2));
        assert_eq!(at.alphas[0].1.dim(), (5, 3));
        let sums: Vec<f64> = at.strengths.iter().flat_map(|(_, m)| m.sum_axis(ndarray::Axis(1)).to_vec()).collect();
        assert!(sums.iter().all(|sum| (sum - 1.0).abs() < 1e-12));
        seen.lock().unwrap().push((at.epoch, at.alphas[0].1[(0, 0)].is_nan()));
        if at.epoch == 2 { vec![mask(0, &[0])] } else { Vec::new() }
    });
    let heard = run(json!({}), vec![watch]);
    assert_eq!(*epochs.lock().unwrap(), [(0, false), (1, false), (2, false), (3, true), (4, true)]);
    let expected: Vec<_> = (0..5).map(|epoch| (epoch, if epoch == 2 { vec![mask(0, &[0])] } else { vec![] })).collect();
    assert_eq!(heard.listener.decided, expected);
}

#[test]
fn a_stop_ends_the_search_as_complete() {
    let seen = run(json!({}), vec![once(0, vec![(1, vec![stop()])])]);
    let outcome = &seen.outcome;
    assert_eq!((outcome.status, outcome.history.len()), (Status::Complete, 2));
    assert_eq!(outcome.state.step as usize, 2 * STEPS);
    let whole = run(json!({}), vec![]);
    assert_eq!(outcome.trajectory.points[..], whole.outcome.trajectory.points[..=2 * STEPS]);
}

/// Freeze, mask, drop, roll back, decide otherwise, and stop.
fn eventful() -> Vec<Stop> {
    let script = vec![
        (0, vec![freeze(0, 2)]),
        (1, vec![mask(0, &[1])]),
        (3, vec![back(1), dropped(1), mask(3, &[0])]),
        (4, vec![stop()]),
    ];
    let later = |at: &AtEpochEnd| match at.epoch == 2 && taken(at, &back(1)) {
        true => vec![mask(2, &[0, 1])],
        false => vec![],
    };
    vec![once(3, script), by(0, later)]
}

/// The checkpoints of one folder with the kept states of another.
fn mixed(checkpoints: &Path, kept: &Path) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (from, prefix) in [(checkpoints, "checkpoint-"), (kept, "epoch-")] {
        for entry in std::fs::read_dir(from).unwrap() {
            let (path, name) = entry.map(|entry| (entry.path(), entry.file_name())).unwrap();
            if name.to_str().unwrap().starts_with(prefix) {
                std::fs::copy(path, folder.path().join(name)).unwrap();
            }
        }
    }
    folder
}

#[test]
fn a_search_with_decisions_that_is_killed_anywhere_resumes_bit_for_bit() {
    for options in [json!({"checkpoint_every": 2}), json!({"hypergradient": "unrolled"})] {
        let with = |folder: &str, resume: bool| {
            let mut changes = options.clone();
            changes["checkpoint_dir"] = json!(folder);
            changes["resume"] = json!(resume);
            short(changes, eventful())
        };
        let folder = tempfile::tempdir().unwrap();
        let mut first = with(folder.path().to_str().unwrap(), false);
        first.listener.killed = Some(folder.path().to_owned());
        let whole = first.run(None);
        assert_eq!(whole.outcome.status, Status::Complete);
        let epochs: Vec<usize> = whole.outcome.decisions.iter().map(|(epoch, _)| *epoch).collect();
        // The epochs after the first are done twice. What follows a roll back belongs to the epoch that remains.
        assert_eq!(epochs, [0, 1, 3, 0, 0, 2, 4]);
        let mut without = options.clone();
        without.as_object_mut().unwrap().remove("checkpoint_every");
        assert_same(&whole, &short(without, eventful()).run(None), "in memory");
        assert!(whole.listener.copies.len() >= 8);
        for (index, copy) in whole.listener.copies.iter().enumerate() {
            // Killed between the kept state of one checkpoint and the next checkpoint.
            if let Some(next) = whole.listener.copies.get(index + 1) {
                let between = mixed(copy.path(), next.path());
                let resumed = with(between.path().to_str().unwrap(), true).run(None);
                assert_same(&whole, &resumed, &format!("{options}, killed before checkpoint {}", index + 1));
            }
            let resumed = with(copy.path().to_str().unwrap(), true).run(None);
            assert_same(&whole, &resumed, &format!("{options}, killed after checkpoint {index}"));
        }
    }
}

#[test]
fn interrupting_at_any_batch_and_resuming_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let place = json!({"checkpoint_dir": folder.path().to_str().unwrap(), "resume": true});
    let whole = run(json!({}), eventful());
    let mut interrupted = 0;
    loop {
        let mut part = short(place.clone(), eventful());
        part.listener.interrupts_at = Some(8);
        let seen = part.run(None);
        if seen.outcome.status == Status::Complete {
            assert_same(&whole, &seen, "the last part");
            break;
        }
        interrupted += 1;
        assert!(interrupted < 20);
    }
    assert!(interrupted >= 4, "{interrupted}");
}

#[test]
fn returning_once_repeats_what_was_done() {
    for (graphs, method) in [(false, "first_order"), (true, "unrolled"), (true, "first_order")] {
        let options = json!({"hypergradient": method});
        let whole = run(options.clone(), vec![]);
        let graphs = graphs.then(FakeGraphs::default);
        let mut again = short(options, vec![once(2, vec![(3, vec![back(2)])])]).run(graphs.as_ref());
        assert_eq!(again.outcome.decisions, [(3, back(2))]);
        assert_eq!(again.listener.decided.iter().map(|(epoch, _)| *epoch).collect::<Vec<_>>(), [0, 1, 2, 3, 2, 3, 4]);
        again.outcome.decisions.clear();
        assert_same(&whole, &again, method);
    }
}

#[test]
fn a_roll_back_restores_the_hidden_states_of_texts() {
    for (graphs, method) in [(false, Method::Unrolled), (true, Method::FirstOrder)] {
        let whole = on_words(method, None, &[]);
        let graphs = graphs.then(FakeGraphs::default);
        let mut again = on_words(method, graphs.as_ref(), &[once(2, vec![(2, vec![back(1)])])]);
        assert_eq!(again.outcome.decisions, [(2, back(1))]);
        again.outcome.decisions.clear();
        assert_same(&whole, &again, &format!("{method:?}"));
        let states = |seen: &Seen| {
            let carried = &seen.outcome.state.carried;
            [&carried.train, &carried.valid].map(|state| state.as_ref().unwrap().copy())
        };
        assert!(states(&whole).iter().zip(&states(&again)).all(|(one, other)| one.equal(other)), "{method:?}");
    }
}

#[test]
fn a_roll_back_undoes_masks_of_later_epochs_and_keeps_earlier_ones() {
    let script = vec![(0, vec![mask(0, &[0])]), (1, vec![mask(0, &[1])]), (2, vec![back(1), mask(1, &[2])])];
    let seen = run(json!({"epochs": 4}), vec![once(4, script)]);
    let mut expected = Restrictions::new(&seen.outcome.restrictions.tables);
    // (1, mask) was taken once, and is not taken again after the roll back.
    for decision in [mask(0, &[0]), mask(1, &[2])] {
        expected.apply(&decision).unwrap();
    }
    assert_eq!(seen.outcome.restrictions, expected);
    let trajectory = &seen.outcome.trajectory;
    let tables = &seen.outcome.restrictions.tables;
    let shown =
        shown_over_time(tables, &seen.outcome.decisions, &trajectory.points, &trajectory.epochs).unwrap().remove(0).1;
    for (point, epoch) in trajectory.epochs.iter().enumerate() {
        let masked = *epoch > 0;
        let nan = |row: usize, column: usize| shown[(point, row, column)].is_nan();
        assert_eq!((nan(0, 0), nan(1, 2), nan(0, 1)), (masked, masked, false), "point {point}");
    }
}

#[test]
fn decisions_without_sense_fail_and_name_table_row_and_decision() {
    let bad = [
        (mask(9, &[0]), "9"),
        (mask(1, &[7]), "7"),
        (mask(1, &[0, 1, 2]), "\"row\":1"),
        (Decision::Mask { table: "nomral".into(), row: 0, columns: vec![0] }, "normal"),
        (freeze(1, 3), "\"column\":3"),
        (dropped(usize::MAX), "\"table\":\"normal\""),
        (back(0), "roll_back"),
        (back(2), "roll_back"),
        (back(5), "roll_back"),
    ];
    for (decision, names) in bad {
        let folder = tempfile::tempdir().unwrap();
        let place = json!({"checkpoint_dir": folder.path().to_str().unwrap(), "resume": true});
        // The first decision is good; it must not be applied alone.
        let decisions = vec![freeze(0, 0), decision.clone()];
        let seen = run(place.clone(), vec![once(1, vec![(1, decisions)])]);
        let error = seen.outcome.error.expect("an error");
        assert_eq!((seen.outcome.status, error.kind), (Status::Failed, ErrorKind::Config), "{decision:?}");
        assert!(error.detail.contains(names), "{error}");
        assert_eq!((seen.outcome.history.len(), seen.outcome.decisions.len()), (2, 0));
        let untouched = Restrictions::new(&seen.outcome.restrictions.tables);
        assert_eq!(seen.outcome.restrictions, untouched, "none of the decisions is applied");
        // A resumed search takes the decisions of this epoch again.
        let better = run(place, vec![once(1, vec![(1, vec![freeze(0, 0)])])]);
        assert_same(&run(json!({}), vec![once(1, vec![(1, vec![freeze(0, 0)])])]), &better, "resumed");
    }
}

#[test]
fn a_decided_candidate_cannot_be_masked() {
    let table = &Space::preset("darts").unwrap().logit_tables()[0];
    let mut state = TableState::new(table);
    state.freeze(3, Some(4)).unwrap();
    assert_eq!(state.mask(3, &[4]).unwrap_err().kind, ErrorKind::Config);
    state.mask(3, &[5]).unwrap();
    assert!(state.freeze(3, Some(5)).is_err());
    let available = state.available();
    assert_eq!((0..8).filter(|column| available[3 * 8 + column]).collect::<Vec<_>>(), [4]);
    assert!(!state.mask[3 * 8 + 5] && state.mask[3 * 8 + 6]);
}

#[test]
fn returning_for_ever_is_an_error() {
    let seen = run(json!({}), vec![by(1, |at| if at.epoch == 1 { vec![back(1)] } else { vec![] })]);
    let error = seen.outcome.error.expect("an error");
    assert_eq!((seen.outcome.status, error.kind), (Status::Failed, ErrorKind::Config));
    assert_eq!(seen.outcome.decisions.len(), 10);
    assert!(error.detail.contains("\"epoch\":1"), "{error}");
}

#[test]
fn a_roll_back_after_a_roll_back_finds_the_same_states_in_memory_and_in_a_folder() {
    let deciders = || {
        let returns = by(2, |at| match at.epoch {
            4 if !taken(at, &back(3)) => vec![back(3)],
            3 if taken(at, &back(3)) && !taken(at, &back(2)) => vec![back(2)],
            2 if taken(at, &back(2)) => vec![back(1)],
            _ => vec![],
        });
        vec![returns]
    };
    let folder = tempfile::tempdir().unwrap();
    let in_folder = run(json!({"checkpoint_dir": folder.path().to_str().unwrap()}), deciders());
    let in_memory = run(json!({}), deciders());
    for seen in [&in_folder, &in_memory] {
        // The two returns have discarded the state after the first epoch.
        let error = seen.outcome.error.as_ref().expect("an error");
        assert_eq!((error.kind, seen.outcome.history.len()), (ErrorKind::Config, 3), "{error}");
        assert!(error.detail.contains("\"epoch\":1") && error.detail.contains("[2]"), "{error}");
        assert_eq!(seen.outcome.decisions, [(4, back(3)), (3, back(2))]);
    }
    assert_same(&in_folder, &in_memory, "in memory");
}

#[test]
fn only_the_files_that_a_roll_back_needs_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    run(json!({"checkpoint_dir": folder.path().to_str().unwrap()}), vec![by(1, |_| vec![])]);
    let mut names: Vec<String> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let epochs = ["epoch-0000000004.safetensors", "epoch-0000000005.safetensors"];
    assert_eq!(
        names,
        [&["checkpoint-0000000012.safetensors", "checkpoint-0000000015.safetensors"], &epochs[..]].concat()
    );
}

#[test]
fn a_stopped_search_is_not_continued_by_more_epochs() {
    let folder = tempfile::tempdir().unwrap();
    let place =
        |epochs: usize| json!({"checkpoint_dir": folder.path().to_str().unwrap(), "resume": true, "epochs": epochs});
    let decider = || vec![once(0, vec![(1, vec![stop()])])];
    let first = run(place(5), decider());
    let again = run(place(9), decider());
    assert_same(&first, &again, "again");
    assert_eq!(again.outcome.config.optimisation.epochs, 5);
    assert_eq!(again.listener.warnings.len(), 1);
    assert!(again.listener.steps.is_empty());
}

fn architecture(table: &LogitTable, skips: usize) -> Architecture {
    let column = |row: usize| if row < skips { "skip_connect" } else { "sep_conv_3x3" };
    let pick =
        |row: usize| Pick { row, column: table.rows[row].candidates.iter().position(|c| c == column(row)).unwrap() };
    let picks = (0..4).map(pick).collect::<Vec<_>>();
    // The reduction cell is full of skip connections, which do not count.
    let all = (0..8).map(|row| Pick { row, column: 3 }).collect();
    Architecture { tables: vec![("normal".into(), picks), ("reduce".into(), all)] }
}

#[test]
fn skip_connections_stop_when_the_normal_cell_has_most_of_them() {
    let space = Space::preset("darts").unwrap();
    let tables = space.logit_tables();
    for (options, most) in [(json!("skip_connections"), 2), (json!({"name": "skip_connections", "most": 3}), 3)] {
        let config = SearchConfig::from_json(&json!({"stop": options}).to_string()).unwrap();
        let decider = config.optimisation.stop.unwrap();
        decider.rule().check(&tables).unwrap();
        for skips in 0..4 {
            let states: Vec<TableState> = tables.iter().map(TableState::new).collect();
            let at = AtEpochEnd {
                epoch: 4,
                epochs: 9,
                arch_start_epoch: 0,
                tables: &tables,
                states: &states,
                alphas: &[],
                strengths: &[],
                architecture: &architecture(&tables[0], skips),
                history: &[] as &[EpochRecord],
                decisions: &[],
                seed: 0,
            };
            let decided = decider.rule().decide(&at, &decider.at(0, 1)).unwrap();
            assert_eq!(!decided.is_empty(), skips >= most, "{skips} skip connections, most = {most}");
            if let [Decision::Stop { reason }] = &decided[..] {
                assert!(reason.contains(&skips.to_string()));
            }
            for (arch_start_epoch, moved) in [(4, true), (5, false)] {
                let decided = decider.rule().decide(&AtEpochEnd { arch_start_epoch, ..at }, &decider.at(0, 1)).unwrap();
                assert_eq!(!decided.is_empty(), moved && skips >= most, "warm-up until epoch {arch_start_epoch}");
            }
        }
    }
}

#[test]
fn skip_connections_need_a_normal_cell() {
    let config =
        SearchConfig::from_json(&json!({"space": "darts-rnn", "stop": "skip_connections"}).to_string()).unwrap();
    let tables = config.space.logit_tables();
    let error = config.optimisation.stop.unwrap().rule().check(&tables).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config);
    assert!(error.detail.contains("normal") && error.detail.contains("recurrent"), "{error}");
}

#[test]
fn every_decider_is_read_and_written_by_its_name() {
    for rule in decide::ALL {
        let name = rule.spec().name;
        let config = SearchConfig::from_json(&json!({"stop": name, "curvature_every": 1}).to_string()).unwrap();
        assert_eq!(SearchConfig::from_json(&config.to_json()).unwrap(), config);
        assert_eq!(config.optimisation.stop.unwrap().name(), name);
    }
    assert!(SearchConfig::from_json("{}").unwrap().optimisation.stop.is_none());
    for bad in [
        json!("skips"),
        json!({"name": "skip_connections", "least": 1}),
        json!({"name": "skip_connections", "most": 0}),
    ] {
        let error = SearchConfig::from_json(&json!({"stop": bad}).to_string()).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Config);
    }
}
