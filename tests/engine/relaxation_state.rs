//! Masks, frozen rows and noise of every relaxation, through the engine: what they fix, what they leave, and J_R by
//! central differences.
#![cfg(feature = "torch")]

use proptest::prelude::*;

use crate::capture::{FakeGraphs, assert_same, config};
use crate::common::{Whole, table};
use crate::deciders::{once, short};
use crate::options;
use ndarray::Array2;
use pydarts::arch::{Decision, LogitTable};
use pydarts::config::Method;
use pydarts::data::Batch;
use pydarts::error::ErrorKind;
use pydarts::nn::{By, Draw, Mode, Network, Relaxations, Role, Supernet};
use pydarts::plan::{Geometry, Plan};
use pydarts::random;
use pydarts::relaxation::{ALL, Inputs, Noise, Relaxation, Restrictions, TableState};
use pydarts::schedule::Schedule;
use pydarts::search::{State, StepSettings, step};
use serde_json::json;
use tch::{Device, Kind, Tensor};

const PLACE: (Kind, Device) = (Kind::Double, Device::Cpu);
const SEED: u64 = 3;
const DRAWS: [Draw; 4] =
    [Draw::Mean, Draw::Part(Role::Alpha, 0), Draw::Part(Role::Weight, 0), Draw::Part(Role::Weight, 1)];

/// Every relaxation, with its default parameters and, where it has one, at another temperature.
fn every() -> Vec<Relaxation> {
    let both = |rule| [Relaxation::new(rule), Relaxation::new(rule).with("temperature", Schedule::Constant(0.4))];
    let mut all: Vec<Relaxation> = ALL.iter().flat_map(|rule| both(*rule)).collect();
    all.dedup();
    all
}

/// Two tables of three rows; in the second the rows differ in length.
fn tables() -> Vec<LogitTable> {
    let mut ragged = table("reduce", 3, 4);
    ragged.rows[1].candidates = ragged.rows[1].candidates[..2].to_vec().into();
    vec![table("normal", 3, 4), ragged]
}

const COUNT: usize = 24;

fn drawn(chosen: &Relaxation) -> Relaxations {
    let relaxations = Relaxations::new(chosen, tables(), (SEED, 1), PLACE).unwrap();
    relaxations.draw(7, [2, 1]).unwrap();
    relaxations
}

fn decision() -> impl Strategy<Value = Decision> {
    let columns = prop::collection::vec(0..4usize, 1..3);
    (prop::sample::select(vec!["normal", "reduce"]), 0..3usize, columns, 0..4u8).prop_map(
        |(table, row, columns, kind)| {
            let table = table.to_owned();
            match kind {
                0 => Decision::Freeze { table, row, column: columns[0] },
                1 => Decision::Drop { table, row },
                _ => Decision::Mask { table, row, columns },
            }
        },
    )
}

/// Decisions that a decider may take one after another; those that are refused change nothing.
fn decisions() -> impl Strategy<Value = Vec<Decision>> {
    prop::collection::vec(decision(), 0..8)
}

fn decide(relaxations: &Relaxations, decisions: &[Decision]) -> Vec<TableState> {
    let mut restrictions = Restrictions::new(relaxations.tables());
    for decision in decisions {
        let before = restrictions.clone();
        if let Err(error) = restrictions.apply(decision) {
            assert_eq!((error.kind, &restrictions), (ErrorKind::Config, &before), "{decision:?}");
        }
    }
    relaxations.set_states(&restrictions.states).unwrap();
    // A step draws before its losses; random architectures depend on the state.
    relaxations.draw(7, [2, 1]).unwrap();
    restrictions.states
}

/// Whether m is a differentiable function of α for this draw: not if it is one-hot, or a sample whose derivative is
/// pathwise.
fn is_smooth(chosen: &Relaxation, draw: Draw) -> bool {
    draw == Draw::Mean || !(chosen.rule().samples_one() || chosen.rule().noise() == Noise::Dirichlet)
}

/// Logits of the usual size, and logits so large that their exponentials differ by many orders.
fn logits() -> impl Strategy<Value = Vec<f64>> {
    let number = prop_oneof![4 => -3.0..3.0f64, 1 => Just(50.0), 1 => Just(-50.0), 1 => -50.0..50.0f64];
    prop::collection::vec(number, COUNT)
}

fn values(tensor: &Tensor) -> Vec<f64> {
    Vec::<f64>::try_from(tensor).unwrap()
}

/// The entries of both tables: (table, row, column).
fn entries() -> impl Iterator<Item = (usize, usize, usize)> {
    (0..COUNT).map(|index| (index / 12, index % 12 / 4, index % 4))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn weights_obey_masks_and_frozen_rows(alpha in logits(), decisions in decisions()) {
        for chosen in every() {
            let relaxations = drawn(&chosen);
            let states = decide(&relaxations, &decisions);
            for draw in DRAWS {
                let m = values(&relaxations.weights(&Tensor::from_slice(&alpha), draw).unwrap());
                prop_assert!(m.iter().all(|weight| weight.is_finite()), "{chosen:?} {draw:?}: {m:?}");
                for (index, (table, row, column)) in entries().enumerate() {
                    let (state, at) = (&states[table], row * 4 + column);
                    if !state.mask[at] {
                        prop_assert_eq!(m[index], 0.0);
                    } else if state.frozen[row] {
                        prop_assert_eq!(m[index], state.frozen_value[at]);
                    }
                }
                for (number, row) in m.chunks(4).enumerate() {
                    if chosen.rule().shares() && !states[number / 3].frozen[number % 3] {
                        prop_assert!((row.iter().sum::<f64>() - 1.0).abs() < 1e-12, "{chosen:?} {row:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn strengths_are_the_mean_mixing_weights(alpha in logits(), decisions in decisions()) {
        for chosen in every() {
            let relaxations = drawn(&chosen);
            let states = decide(&relaxations, &decisions);
            let m = values(&relaxations.weights(&Tensor::from_slice(&alpha), Draw::Mean).unwrap());
            for (state, (alpha, m)) in states.iter().zip(alpha.chunks(12).zip(m.chunks(12))) {
                let alpha = Array2::from_shape_vec((3, 4), alpha.to_vec()).unwrap();
                let strengths = state.strengths(&chosen, (0, 1), alpha.view());
                for (strength, weight) in strengths.iter().zip(m) {
                    prop_assert!((strength - weight).abs() <= 1e-13 * weight.abs().max(1.0), "{chosen:?}");
                }
            }
        }
    }

    #[test]
    fn the_transposed_jacobian_is_that_of_central_differences(
        alpha in logits(), gradient in prop::collection::vec(-2.0..2.0f64, COUNT), decisions in decisions(),
    ) {
        for chosen in every() {
            let relaxations = drawn(&chosen);
            decide(&relaxations, &decisions);
            let fixed = Vec::<bool>::try_from(relaxations.fixed()).unwrap();
            for draw in [DRAWS[0], DRAWS[1], DRAWS[3]].into_iter().filter(|draw| is_smooth(&chosen, *draw)) {
                let m = |alpha: &[f64]| relaxations.weights(&Tensor::from_slice(alpha), draw).unwrap();
                let (at, g) = (Tensor::from_slice(&alpha), Tensor::from_slice(&gradient));
                let found = values(&relaxations.backward(&at, &m(&alpha), &g, draw).unwrap());
                for index in 0..COUNT {
                    let moved = |by: f64| {
                        let mut alpha = alpha.clone();
                        alpha[index] += by;
                        m(&alpha).dot(&g).double_value(&[])
                    };
                    // Constants of frozen rows and masked entries have derivative 0 without saying so.
                    let numeric = (moved(1e-5) - moved(-1e-5)) / 2e-5;
                    prop_assert!((found[index] - numeric).abs() < 1e-6, "{chosen:?} {draw:?}: {} {numeric}", found[index]);
                    prop_assert!(!fixed[index] || found[index] == 0.0);
                }
            }
        }
    }

    #[test]
    fn without_decisions_the_weights_are_the_bits_of_the_function_alone(alpha in logits()) {
        for chosen in every() {
            let relaxations = Relaxations::new(&chosen, vec![table("normal", 6, 4)], (SEED, 1), PLACE).unwrap();
            relaxations.draw(7, [2, 1]).unwrap();
            let parameters: Vec<Tensor> = chosen.at(0, 1).into_iter().map(Tensor::from).collect();
            let alpha = Tensor::from_slice(&alpha);
            let (rule, state) = (chosen.rule(), TableState::new(&relaxations.tables()[0]));
            let drawn = rule.noise().draw((SEED, "relaxation.normal.weight.1", 7), &relaxations.tables()[0], &state);
            let blocks = rule.noise().blocks() as i64;
            let shape = if blocks > 1 { vec![blocks, 6, 4] } else { vec![6, 4] };
            let noise = (blocks > 0).then(|| {
                rule.sample(&alpha.view([6, 4]), &Tensor::from_slice(&drawn).view(shape.as_slice())).unwrap()
            });
            for (draw, noise) in [(Draw::Mean, None), (Draw::Part(Role::Weight, 1), noise.as_ref())] {
                let inputs = Inputs { values: &parameters, noise };
                let alone = chosen.rule().weights(&alpha.view([6, 4]), &inputs).unwrap();
                prop_assert!(relaxations.weights(&alpha, draw).unwrap().equal(&alone.view([-1])), "{chosen:?}");
            }
        }
    }

    #[test]
    fn the_softmax_at_temperature_1_has_the_bits_of_libtorch(
        alpha in logits(), gradient in prop::collection::vec(-2.0..2.0f64, COUNT), single: bool,
    ) {
        let kind = if single { Kind::Float } else { Kind::Double };
        let softmax = Relaxation::new(ALL[0]);
        let relaxations = Relaxations::new(&softmax, vec![table("normal", 6, 4)], (0, 1), (kind, Device::Cpu)).unwrap();
        let [alpha, gradient] = [alpha, gradient].map(|numbers| Tensor::from_slice(&numbers).to_kind(kind));
        let leaf = alpha.copy().set_requires_grad(true);
        let plain = leaf.view([6, 4]).softmax(-1, None).view([-1]);
        let m = relaxations.weights(&alpha, Draw::Part(Role::Alpha, 0)).unwrap();
        prop_assert!(m.equal(&plain.detach()));
        let expected = Tensor::run_backward(&[plain.dot(&gradient)], &[&leaf], false, false);
        prop_assert!(relaxations.backward(&alpha, &m, &gradient, Draw::Mean).unwrap().equal(&expected[0]));
    }
}

fn small(changes: serde_json::Value) -> (pydarts::config::SearchConfig, Supernet) {
    tch::set_num_threads(1);
    let config = config(changes);
    let geometry = Geometry { channels: 2, layers: 3, num_classes: 3, in_channels: 1, image_size: (8, 8) };
    let network = Supernet::new(Plan::lower(&config.space, &geometry).unwrap(), options::plain(Kind::Double)).unwrap();
    (config, network)
}

fn images(purpose: &str, index: u64) -> Batch {
    let x = Tensor::from_slice(&random::normal(5, purpose, index, 4 * 64)).view([4, 1, 8, 8]);
    Batch::new(x, Tensor::from_slice(&[0i64, 1, 2, index as i64 % 3]))
}

fn freeze(row: usize, column: Option<usize>) -> Decision {
    let table = "normal".to_owned();
    match column {
        Some(column) => Decision::Freeze { table, row, column },
        None => Decision::Drop { table, row },
    }
}

fn mask(table: &str, row: usize, columns: &[usize]) -> Decision {
    Decision::Mask { table: table.to_owned(), row, columns: columns.to_vec() }
}

#[test]
fn steps_with_decay_and_momentum_do_not_move_masked_and_frozen_entries() {
    let decisions = [mask("normal", 0, &[1]), freeze(1, Some(2)), freeze(2, None), mask("reduce", 4, &[0, 2])];
    for chosen in every().into_iter().filter(|chosen| chosen.rule().learns()) {
        for method in [Method::FirstOrder, Method::Unrolled, Method::UnrolledExact] {
            let what = format!("{chosen:?} {method:?}");
            let (config, network) = small(json!({"arch_weight_decay": 0.1, "relaxation": chosen}));
            let whole = Whole::of(&network, &config);
            let settings = StepSettings { estimator: method.into(), ..StepSettings::new(&config) };
            let mut state =
                State::initial(network.plan(), pydarts::config::ArchInit::default(), 1, Kind::Double, Device::Cpu)
                    .unwrap();
            let steps = |state: &mut State, numbers: std::ops::Range<u64>| {
                for n in numbers {
                    let (train, valid) = (images("train", n), images("valid", n));
                    step(whole.relaxed(), state, &train, Some(&valid), &settings, 0.1).unwrap();
                }
            };
            steps(&mut state, 0..2);
            decide(&whole.relaxations, &decisions);
            let seen = |state: &State| {
                [&state.alpha, &state.moments.exp_avg, &state.moments.exp_avg_sq].map(|tensor| tensor.copy())
            };
            let (before, w) = (seen(&state), state.w.copy());
            let strengths = |state: &State| values(&whole.relaxations.weights(&state.alpha, Draw::Mean).unwrap());
            let strengths_before = strengths(&state);
            assert!(before.iter().all(|tensor| values(tensor).iter().all(|number| *number != 0.0)), "{what}");
            steps(&mut state, 2..5);
            let fixed = Vec::<bool>::try_from(whole.relaxations.fixed()).unwrap();
            assert_eq!(fixed.iter().filter(|fixed| **fixed).count(), 1 + 3 + 3 + 2);
            for (before, after) in before.iter().zip(seen(&state)) {
                for ((fixed, before), after) in fixed.iter().zip(values(before)).zip(values(&after)) {
                    assert!(after.is_finite(), "{what}");
                    assert_eq!(*fixed, before.to_bits() == after.to_bits(), "{what}: {before} {after}");
                }
            }
            for ((fixed, before), after) in fixed.iter().zip(strengths_before).zip(strengths(&state)) {
                assert!(!fixed || before.to_bits() == after.to_bits(), "{what}");
            }
            assert!(!w.equal(&state.w) && state.w.isfinite().all().int64_value(&[]) == 1);
        }
    }
}

#[test]
fn a_frozen_row_trains_the_operation_that_it_chose_and_no_other() {
    let (config, network) = small(json!({}));
    let state =
        State::initial(network.plan(), pydarts::config::ArchInit::default(), 1, Kind::Double, Device::Cpu).unwrap();
    let of_edge = |column: Option<usize>| {
        let whole = Whole::of(&network, &config);
        decide(&whole.relaxations, &[freeze(0, column)]);
        let mode = (Mode::Search, Role::Weight);
        let found = whole.relaxed().gradients(&state.w, &state.alpha, &images("train", 0), mode, By::Both).unwrap();
        let alpha = found.alpha().unwrap();
        assert_eq!(alpha.narrow(0, 0, 3).abs().max().double_value(&[]), 0.0);
        assert!(alpha.narrow(0, 3, 3).abs().min().double_value(&[]) > 0.0);
        let named = network.weights().unpack(found.w().unwrap()).unwrap();
        let of_edge: Vec<f64> = named
            .iter()
            .filter(|(name, _)| name.starts_with("cells.0.edges.0_2.sep_conv_3x3"))
            .map(|(_, gradient)| gradient.abs().max().double_value(&[]))
            .collect();
        assert_eq!(of_edge.len(), 4);
        of_edge
    };
    // The columns are none, skip_connect and sep_conv_3x3; cell 0 is a normal cell.
    assert!(of_edge(Some(2)).iter().all(|gradient| *gradient > 0.0));
    for column in [None, Some(0), Some(1)] {
        assert!(of_edge(column).iter().all(|gradient| *gradient == 0.0), "{column:?}");
    }
}

#[test]
fn a_captured_step_sees_later_decisions_temperatures_and_noise() {
    for rule in ALL {
        let chosen = Relaxation::new(*rule).with("temperature", Schedule::Linear(5.0, 0.5));
        for method in [Method::FirstOrder, Method::Unrolled, Method::UnrolledExact] {
            let what = format!("{chosen:?} {method:?}");
            let search = |decisions: Vec<Decision>, graphs: Option<&FakeGraphs>| {
                let taken = decisions.into_iter().enumerate().map(|(epoch, decision)| (epoch, vec![decision]));
                short(json!({"hypergradient": method, "relaxation": chosen}), vec![once(0, taken.collect())])
                    .run(graphs)
            };
            let decisions = || vec![freeze(1, None), mask("reduce", 0, &[2]), freeze(0, Some(1))];
            let (graphs, eager) = (FakeGraphs::default(), search(decisions(), None));
            assert_eq!(eager.outcome.decisions.len(), 3);
            assert_same(&eager, &search(decisions(), Some(&graphs)), &what);
            // One graph, from the third of fifteen steps on.
            assert_eq!((graphs.captured.get(), graphs.replayed.get()), (1, 13), "{what}");
            if method != Method::FirstOrder {
                continue;
            }
            let undecided = search(vec![], None);
            assert!(!eager.outcome.state.w.equal(&undecided.outcome.state.w), "the test sees nothing");
        }
    }
}

#[test]
fn a_captured_step_sees_the_radius_of_its_epoch_and_the_noise_of_its_step() {
    for name in ["uniform", "adversarial"] {
        let radius = json!({"name": "linear", "start": 0.05, "end": 0.4});
        let search = |perturbation: serde_json::Value, graphs: Option<&FakeGraphs>| {
            short(json!({"perturbation": perturbation}), vec![]).run(graphs)
        };
        let (graphs, perturbation) = (FakeGraphs::default(), json!({"name": name, "epsilon": radius}));
        let eager = search(perturbation.clone(), None);
        assert_same(&eager, &search(perturbation, Some(&graphs)), name);
        assert_eq!((graphs.captured.get(), graphs.replayed.get()), (1, 13), "{name}");
        let constant = search(json!({"name": name, "epsilon": 0.05}), None);
        assert!(!eager.outcome.state.w.equal(&constant.outcome.state.w), "the radius of the first epoch was kept");
    }
}
