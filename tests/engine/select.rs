//! Selections of a run: a selection that evaluates the network, and candidates that are not available.
#![cfg(feature = "torch")]

use std::cell::Cell;

use crate::capture::{batches, search};
use crate::options;
use pydarts::arch::{Architecture, Decision, Pick, Selection};
use pydarts::config::SearchConfig;
use pydarts::error::{Error, ErrorKind, Result};
use pydarts::event::{Event, Observer, Status};
use pydarts::nn::{Mode, Supernet};
use pydarts::plan::{Geometry, Plan};
use pydarts::relaxation::Restrictions;
use pydarts::search::{AtSelection, Fingerprint, Outcome, Search, Select, Sources, State, run};
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};

/// Picks, per table, the candidate of the first row without which the loss of the first evaluation batch is largest.
struct Perturbation {
    asked: Cell<usize>,
    fails_at: Option<usize>,
}

impl Select for Perturbation {
    fn select(&self, at: &mut AtSelection) -> Result<Architecture> {
        self.asked.set(self.asked.get() + 1);
        if self.fails_at == Some(self.asked.get()) {
            return Err(Error::new(ErrorKind::Foreign, "the selection failed"));
        }
        at.train.start(0, 0)?;
        assert!(at.train.next()?.is_some());
        at.evaluation.start(0, 0)?;
        let batch = at.evaluation.next()?.expect("a batch");
        let mut first = 0;
        let mut picks = Vec::new();
        for (table, (name, strengths)) in at.restrictions.tables.iter().zip(at.strengths) {
            let mut worst = (0, f64::NEG_INFINITY);
            for column in 0..table.columns {
                let mut m: Vec<f64> = at.strengths.iter().flat_map(|(_, m)| m.iter().copied()).collect();
                m[first + column] = 0.0;
                let m = Tensor::from_slice(&m).to_kind(at.network.kind());
                let loss = at.network.loss(&at.state.w, &m, &batch, Mode::Evaluation)?.value.f_double_value(&[])?;
                worst = if loss > worst.1 { (column, loss) } else { worst };
            }
            picks.push((name.clone(), vec![Pick { row: 0, column: worst.0 }]));
            first += strengths.len();
        }
        Ok(Architecture { tables: picks })
    }
}

/// The architectures of epoch events.
#[derive(Default)]
struct Heard(Vec<Architecture>);

impl Observer for Heard {
    fn observe(&mut self, event: &Event) -> Result<()> {
        if let Event::Epoch { architecture, .. } = event {
            self.0.push((*architecture).clone());
        }
        Ok(())
    }
}

fn searched(changes: Value, select: &dyn Select) -> (Outcome, Heard) {
    tch::set_num_threads(1);
    let config: SearchConfig = search(changes).config;
    let geometry = Geometry { channels: 2, layers: 3, num_classes: 3, in_channels: 1, image_size: (8, 8) };
    let plan = Plan::lower(&config.space, &geometry).unwrap();
    let network = Supernet::new(plan, options::plain(Kind::Float)).unwrap();
    let initial =
        State::initial(network.plan(), pydarts::config::ArchInit::default(), 1, Kind::Float, Device::Cpu).unwrap();
    let [mut train, mut valid, mut evaluation] =
        [("train", 3), ("valid", 2), ("evaluation", 2)].map(|(purpose, count)| batches(purpose, &vec![4; count]));
    let sources = Sources { train: &mut train, valid: &mut valid, evaluation: &mut evaluation };
    let (whole, mut heard) = (crate::common::Whole::of(&network, &config), Heard::default());
    let fingerprint = Fingerprint::default();
    let search = Search { select, ..Search::new(&config, &fingerprint) };
    (run(whole.relaxed(), search, initial, sources, &mut heard).unwrap(), heard)
}

fn perturbation(fails_at: Option<usize>) -> Perturbation {
    Perturbation { asked: Cell::new(0), fails_at }
}

#[test]
fn a_selection_may_evaluate_the_network_and_changes_nothing_else() {
    let select = perturbation(None);
    let (outcome, heard) = searched(json!({}), &select);
    let (published, _) = searched(json!({}), &Selection::default());
    assert_eq!(outcome.status, Status::Complete);
    assert_eq!(outcome.trajectory, published.trajectory);
    assert!(outcome.state.w.equal(&published.state.w));
    assert_eq!((select.asked.get(), heard.0.len()), (3, 3), "once per epoch");
    assert_eq!(heard.0.last(), Some(&outcome.architecture));
    assert_eq!(outcome.architecture.tables.len(), 2);
    assert_ne!(outcome.architecture, published.architecture);
    // No table is as full of skip connections as the published rule would say: one pick each.
    assert!(outcome.history.iter().all(|record| record.skip_connections.is_some_and(|count| count <= 2)));
}

#[test]
fn a_finished_search_is_not_selected_from_again() {
    let folder = tempfile::tempdir().unwrap();
    let place = json!({"checkpoint_dir": folder.path().to_str().unwrap(), "resume": true});
    let (first, _) = searched(place.clone(), &perturbation(None));
    let select = perturbation(None);
    let (again, _) = searched(place, &select);
    assert_eq!((again.architecture, select.asked.get()), (first.architecture, 0));
}

#[test]
fn an_error_of_the_selection_ends_the_search_with_what_was_done() {
    let (outcome, heard) = searched(json!({}), &perturbation(Some(2)));
    assert_eq!((outcome.status, outcome.error.unwrap().kind), (Status::Failed, ErrorKind::Foreign));
    assert_eq!((outcome.history.len(), heard.0.len(), outcome.state.step), (1, 1, 6));
}

#[test]
fn every_rule_by_strength_leaves_out_what_is_not_available() {
    let config = SearchConfig::default();
    let tables = config.space.logit_tables();
    let mut restrictions = Restrictions::new(&tables);
    let normal = |row: usize| ("normal".to_owned(), row);
    let (table, row) = normal(0);
    restrictions.apply(&Decision::Mask { table, row, columns: vec![1, 2, 3] }).unwrap();
    let (table, row) = normal(1);
    restrictions.apply(&Decision::Drop { table, row }).unwrap();
    let (table, row) = normal(2);
    restrictions.apply(&Decision::Freeze { table, row, column: 5 }).unwrap();
    let geometry = Geometry { channels: 2, layers: 3, num_classes: 3, in_channels: 1, image_size: (8, 8) };
    let network = Supernet::new(Plan::lower(&config.space, &geometry).unwrap(), options::plain(Kind::Float)).unwrap();
    let state =
        State::initial(network.plan(), pydarts::config::ArchInit::default(), 1, Kind::Float, Device::Cpu).unwrap();
    let whole = crate::common::Whole::of(&network, &config);
    // Without a relaxation by shares a masked 0 would be larger than all others.
    let strengths: Vec<_> = tables
        .iter()
        .map(|table| (table.name.clone(), ndarray::Array2::from_elem((table.rows.len(), table.columns), -1.0)))
        .collect();
    for name in ["strongest", "argmax", "threshold"] {
        let mut shown = strengths.clone();
        let state_of_normal = &restrictions.states[0];
        for (index, strength) in shown[0].1.iter_mut().enumerate() {
            if !state_of_normal.mask[index] || state_of_normal.frozen[index / 8] {
                *strength = state_of_normal.frozen_value[index];
            }
        }
        let config = SearchConfig::from_json(&json!({"selection": name}).to_string()).unwrap();
        let (mut train, mut evaluation) = (batches("train", &[4]), batches("evaluation", &[4]));
        let mut at = AtSelection {
            network: &network,
            state: &state,
            restrictions: &restrictions,
            strengths: &shown,
            train: &mut train,
            evaluation: &mut evaluation,
            relaxed: whole.relaxed(),
            pass: 0,
            seed: 0,
            last: true,
            poll: &mut || Ok(()),
        };
        let picked = config.optimisation.selection.select(&mut at).unwrap();
        for pick in picked.picks("normal") {
            let allowed = match pick.row {
                0 => ![1, 2, 3].contains(&pick.column),
                1 => false,
                2 => pick.column == 5,
                _ => true,
            };
            assert!(allowed, "{name}: {pick:?}");
        }
    }
}
