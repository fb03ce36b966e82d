//! The language model: every combination of passes against the lowered plan, in float64; gradients against finite
//! differences; masks and statistics.
#![cfg(feature = "torch")]

use crate::options;
use proptest::prelude::*;
use pydarts::config::Rewrite;
use pydarts::data::Batch;
use pydarts::nn::{By, Dropout, LanguageModel, LanguageOptions, Mode, Network, NetworkOptions, Parts};
use pydarts::params::{Table, initial_weights};
use pydarts::plan::{DropoutTarget, Language, Plan};
use pydarts::random;
use pydarts::space::{Operation, Reads, Space};
use serde_json::json;
use tch::{Device, Kind, Tensor};

const BATCH: i64 = 3;
const TOKENS: i64 = 4;
const SOME: Dropout = Dropout { rows: 0.2, embedded: 0.2, input: 0.4, hidden: 0.3, output: 0.5 };

fn draw(purpose: &str, shape: &[i64]) -> Tensor {
    let n = shape.iter().product::<i64>() as usize;
    Tensor::from_slice(&random::normal(7, purpose, 0, n)).view(shape)
}

fn plan(nodes: usize, operations: &[Operation], language: Language) -> Plan {
    let all: Vec<usize> = (1..=nodes).collect();
    plan_of(nodes, &all, operations, language)
}

/// With an output of some nodes.
fn plan_of(nodes: usize, concat: &[usize], operations: &[Operation], language: Language) -> Plan {
    lower(json!({"kind": "recurrent", "nodes": nodes, "concat": concat, "operations": operations}), language)
}

fn lower(space: serde_json::Value, language: Language) -> Plan {
    Plan::lower_language(&Space::from_json(&space.to_string()).unwrap(), &language).unwrap()
}

fn model(plan: &Plan, passes: &[Rewrite], dropout: Dropout) -> LanguageModel {
    tch::set_num_threads(1);
    let options = NetworkOptions { passes: Some(passes.to_vec()), ..options::plain(Kind::Double) };
    let of_words = LanguageOptions { dropout, slowness: 0.3, seed: 1, ..options::of_words(BATCH, TOKENS as usize) };
    LanguageModel::new(plan.clone(), options, of_words).unwrap()
}

fn segment(language: Language) -> Batch {
    let numbers = random::uniform(5, "tokens", 0, (2 * TOKENS * BATCH) as usize, 0.0, language.words as f64);
    let tokens: Vec<i64> = numbers.into_iter().map(|number| number as i64).collect();
    let tokens = Tensor::from_slice(&tokens).view([2, TOKENS, BATCH]);
    Batch { carried: Some(draw("state", &[BATCH, language.units as i64])), ..Batch::new(tokens.get(0), tokens.get(1)) }
}

/// Large weights, so that no operation is nearly linear.
fn weights(plan: &Plan, model: &LanguageModel) -> Tensor {
    let drawn = initial_weights(plan, 3, Kind::Double, Device::Cpu).unwrap() * 10.0;
    let named = Table::of_weights(plan).unpack(&drawn).unwrap();
    model.weights().pack(&named, Kind::Double, Device::Cpu).unwrap()
}

/// The values in which two models must agree.
struct Seen {
    logits: Tensor,
    carried: Tensor,
    of_alpha: Tensor,
    of_weights: Vec<(String, Tensor)>,
    statistics: Vec<(String, Tensor)>,
    evaluated: f64,
    product: Tensor,
}

fn see(plan: &Plan, passes: &[Rewrite], language: Language) -> Seen {
    let model = model(plan, passes, SOME);
    model.draw(3, &Parts::default()).unwrap();
    let w = weights(plan, &model);
    let alpha = draw("alpha", &[model.alphas().total()]);
    let batch = segment(language);
    let found = model.gradients(&w, &alpha, &batch, Mode::Weights, By::Both).unwrap();
    let direction = Table::of_weights(plan).unpack(&draw("direction", &[w.size()[0]])).unwrap();
    let direction = model.weights().pack(&direction, Kind::Double, Device::Cpu).unwrap();
    Seen {
        logits: model.logits(&w, &alpha, &batch, Mode::Search).unwrap(),
        carried: found.loss.carried.as_ref().unwrap().copy(),
        of_alpha: found.alpha().unwrap().copy(),
        of_weights: model.weights().unpack(found.w().unwrap()).unwrap(),
        statistics: model.buffers().unwrap().named().unwrap(),
        evaluated: model.loss(&w, &alpha, &batch, Mode::Evaluation).unwrap().value.double_value(&[]),
        product: model.hessian_product(&w, &alpha, &direction, &batch).unwrap(),
    }
}

/// ‖a − b‖ / ‖b‖, or ‖a‖ if b is zero.
fn apart(a: &Tensor, b: &Tensor) -> f64 {
    // Counts of steps are integers, of which libtorch computes no norm.
    let (a, b) = (a.to_kind(Kind::Double), b.to_kind(Kind::Double));
    let norm = b.norm().double_value(&[]);
    (a - b).norm().double_value(&[]) / if norm == 0.0 { 1.0 } else { norm }
}

fn agree(one: &Seen, other: &Seen, passes: &[Rewrite]) {
    let close = |what: &str, a: &Tensor, b: &Tensor, tolerance: f64| {
        let error = apart(a, b);
        assert!(error < tolerance, "{passes:?}: {what} differ by {error:e}");
    };
    close("logits", &one.logits, &other.logits, 1e-11);
    close("states", &one.carried, &other.carried, 1e-11);
    close("gradients of α", &one.of_alpha, &other.of_alpha, 1e-9);
    // A variance near zero multiplies rounding by up to 1/√ε in each derivative of a batch norm: by 3e7 in the third.
    close("Hessian-vector products", &one.product, &other.product, 1e-6);
    for (ours, theirs) in [(&one.of_weights, &other.of_weights), (&one.statistics, &other.statistics)] {
        assert_eq!(ours.len(), theirs.len());
        for ((name, value), (other_name, other)) in ours.iter().zip(theirs) {
            assert_eq!(name, other_name);
            close(name, value, other, 1e-9);
        }
    }
    assert!((one.evaluated - other.evaluated).abs() < 1e-11, "{passes:?}: evaluations differ");
}

const ACTIVATIONS: [Operation; 5] =
    [Operation::None, Operation::Tanh, Operation::Relu, Operation::Sigmoid, Operation::Identity];

/// Lists of up to so many activations, not only of `none`.
fn operations(most: usize) -> impl Strategy<Value = Vec<Operation>> {
    let useful = |operations: &Vec<Operation>| operations[..] != [Operation::None];
    prop::sample::subsequence(ACTIVATIONS.to_vec(), 1..=most).prop_shuffle().prop_filter("only none", useful)
}

#[test]
fn every_combination_of_passes_computes_what_the_lowered_plan_computes() {
    let language = Language { words: 11, units: 5 };
    let plan = plan(4, &ACTIVATIONS, language);
    let all = Rewrite::of(Reads::Words);
    let plain = see(&plan, &[], language);
    for bits in 1..1usize << all.len() {
        let passes: Vec<Rewrite> =
            (0..all.len()).filter(|index| bits >> index & 1 == 1).map(|index| all[index]).collect();
        agree(&see(&plan, &passes, language), &plain, &passes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(30))]

    #[test]
    fn any_cell_computes_the_same_with_any_passes(
        (nodes, concat) in (1usize..6).prop_flat_map(|nodes| {
            (Just(nodes), prop::sample::subsequence((1..=nodes).collect::<Vec<_>>(), 1..=nodes))
        }),
        operations in operations(5),
        words in 2usize..20,
        units in 1usize..7,
        which in prop::sample::subsequence(Rewrite::of(Reads::Words).to_vec(), 1..=4),
    ) {
        let language = Language { words, units };
        let plan = plan_of(nodes, &concat, &operations, language);
        agree(&see(&plan, &which, language), &see(&plan, &[], language), &which);
    }

    #[test]
    fn any_cell_of_different_edges_computes_the_same_with_any_passes(
        (nodes, few) in (1usize..5, prop::collection::vec(operations(3), 1..4)),
        edges in prop::collection::vec(any::<prop::sample::Index>(), 10),
        last: bool,
        which in prop::sample::subsequence(Rewrite::of(Reads::Words).to_vec(), 1..=4),
    ) {
        let language = Language { words: 7, units: 5 };
        let lists: Vec<&Vec<Operation>> = edges[..(1..=nodes).sum()].iter().map(|index| index.get(&few)).collect();
        let output = if last { "last" } else { "mean" };
        let plan = lower(json!({"nodes": nodes, "operations": {"recurrent": lists}, "output": output}), language);
        agree(&see(&plan, &which, language), &see(&plan, &[], language), &which);
    }
}

#[test]
fn the_gradient_is_that_of_the_loss_and_the_penalty() {
    let language = Language { words: 7, units: 4 };
    let plan = plan(3, &[Operation::Tanh, Operation::Sigmoid, Operation::Identity], language);
    let model = model(&plan, Rewrite::of(Reads::Words), SOME);
    model.draw(0, &Parts::default()).unwrap();
    let (w, alpha, batch) = (weights(&plan, &model), draw("alpha", &[model.alphas().total()]), segment(language));
    let objective = |w: &Tensor, alpha: &Tensor| {
        let logits = model.logits(w, alpha, &batch, Mode::Search).unwrap();
        let loss = model.loss(w, alpha, &batch, Mode::Search).unwrap().value.double_value(&[]);
        assert_eq!(logits.size(), [TOKENS, BATCH, 7]);
        loss
    };
    let found = model.gradients(&w, &alpha, &batch, Mode::Search, By::Both).unwrap();
    for (of_w, vector, gradient) in [(true, &w, found.w().unwrap()), (false, &alpha, found.alpha().unwrap())] {
        let direction = draw("difference", &vector.size());
        let along = |step: f64| {
            let moved = vector + &direction * step;
            if of_w { objective(&moved, &alpha) } else { objective(&w, &moved) }
        };
        let difference = (along(1e-5) - along(-1e-5)) / 2e-5;
        let expected = gradient.dot(&direction).double_value(&[]);
        assert!((difference - expected).abs() < 1e-7 * expected.abs().max(1.0), "{difference} {expected}");
    }
    // Only the weight step has the penalty, and the reported loss excludes it.
    let with_penalty = model.gradients(&w, &alpha, &batch, Mode::Weights, By::Both).unwrap();
    assert!(apart(with_penalty.w().unwrap(), found.w().unwrap()) > 1e-6);
    assert!(apart(&with_penalty.loss.value, &found.loss.value) < 1e-12);
}

#[test]
fn masks_are_a_function_of_the_step_and_have_the_right_shapes_and_rates() {
    let language = Language { words: 400, units: 200 };
    let plan = plan(1, &[Operation::Tanh], language);
    let model = model(&plan, &[], Dropout { rows: 0.1, hidden: 0.25, ..Dropout::default() });
    let seen = |step: u64| {
        model.draw(step, &Parts::default()).unwrap();
        DropoutTarget::ALL.map(|target| model.masks().at(target).map(Tensor::copy))
    };
    let (one, other, again) = (seen(1), seen(2), seen(1));
    for target in [DropoutTarget::Rows, DropoutTarget::Hidden] {
        let of = |masks: &[Option<Tensor>; 5]| masks[target as usize].as_ref().unwrap().copy();
        assert!(of(&one).equal(&of(&again)) && !of(&one).equal(&of(&other)));
    }
    for target in [DropoutTarget::Embedded, DropoutTarget::Input, DropoutTarget::Output] {
        assert!(one[target as usize].is_none(), "{}", target.name());
    }
    let hidden = one[DropoutTarget::Hidden as usize].as_ref().unwrap();
    let dropped = hidden.eq(0.0).to_kind(Kind::Double).mean(Kind::Double).double_value(&[]);
    assert!((dropped - 0.25).abs() < 0.06, "{dropped}");
    assert!((hidden.max().double_value(&[]) - 1.0 / 0.75).abs() < 1e-12);
}

#[test]
fn running_statistics_move_once_by_the_mean_over_tokens() {
    let language = Language { words: 9, units: 4 };
    let plan = plan(2, &ACTIVATIONS, language);
    let model = model(&plan, Rewrite::of(Reads::Words), Dropout::default());
    let (w, alpha, batch) = (weights(&plan, &model), draw("alpha", &[model.alphas().total()]), segment(language));
    let before = model.buffers().unwrap().named().unwrap();
    model.gradients(&w, &alpha, &batch, Mode::Search, By::Both).unwrap();
    for ((_, one), (_, other)) in before.iter().zip(&model.buffers().unwrap().named().unwrap()) {
        assert!(one.equal(other), "a loss of an α step moved them");
    }
    model.gradients(&w, &alpha, &batch, Mode::Weights, By::Weights).unwrap();
    let after = model.buffers().unwrap().named().unwrap();
    let names: Vec<&str> = after.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names[..3], ["cell.bn0.running_mean", "cell.bn0.running_var", "cell.bn0.num_batches_tracked"]);
    assert_eq!(names.len(), 9);
    assert!(after.iter().skip(2).step_by(3).all(|(_, count)| count.int64_value(&[]) == 1));
    assert!(after.iter().zip(&before).all(|((_, one), (_, other))| !one.equal(other)));
}

#[test]
fn a_segment_continues_with_the_last_state_of_the_previous_one() {
    let language = Language { words: 9, units: 4 };
    let plan = plan(3, &ACTIVATIONS, language);
    let model = model(&plan, Rewrite::of(Reads::Words), SOME);
    model.draw(0, &Parts::default()).unwrap();
    let (w, alpha, whole) = (weights(&plan, &model), draw("alpha", &[model.alphas().total()]), segment(language));
    let part = |begin: i64, carried: Option<Tensor>| Batch {
        carried,
        ..Batch::new(whole.inputs.narrow(0, begin, TOKENS / 2), whole.targets.narrow(0, begin, TOKENS / 2))
    };
    let first = part(0, whole.carried.as_ref().map(Tensor::copy));
    let left = model.loss(&w, &alpha, &first, Mode::Search).unwrap().carried;
    let parts = [
        model.logits(&w, &alpha, &first, Mode::Search).unwrap(),
        model.logits(&w, &alpha, &part(TOKENS / 2, left), Mode::Search).unwrap(),
    ];
    let all = model.logits(&w, &alpha, &whole, Mode::Search).unwrap();
    assert!(apart(&Tensor::cat(&parts, 0), &all) < 1e-12);
}

#[test]
fn an_invalid_segment_is_an_error_that_names_its_size() {
    let language = Language { words: 9, units: 4 };
    let plan = plan(1, &[Operation::Tanh], language);
    let model = model(&plan, &[], SOME);
    let (w, alpha) = (weights(&plan, &model), draw("alpha", &[model.alphas().total()]));
    let refused = |inputs: Tensor, targets: Tensor| {
        model.loss(&w, &alpha, &Batch::new(inputs, targets), Mode::Search).unwrap_err().to_string()
    };
    let tokens = |shape: &[i64]| Tensor::zeros(shape, (Kind::Int64, Device::Cpu));
    assert!(refused(tokens(&[4]), tokens(&[4])).contains("[tokens, batch]"));
    assert!(refused(tokens(&[4, 3]), tokens(&[4, 2])).contains("[4, 2]"));
    assert!(refused(tokens(&[0, 3]), tokens(&[0, 3])).contains("[0, 3]"));
    assert!(refused(tokens(&[4, 1]), tokens(&[4, 1])).contains("at least 2 sequences"));
    assert!(refused(tokens(&[4, 2]), tokens(&[4, 2])).contains("masks of this search are for 3"));
    let state = Tensor::zeros([2, 4], (Kind::Double, Device::Cpu));
    let other = Batch { carried: Some(state), ..Batch::new(tokens(&[4, 3]), tokens(&[4, 3])) };
    let refused = model.loss(&w, &alpha, &other, Mode::Search).unwrap_err().to_string();
    assert!(refused.contains("expected 2 sequences"), "{refused}");
}
