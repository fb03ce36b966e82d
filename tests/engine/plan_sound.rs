//! Plans: what `check` and the passes keep sound, and random networks.

use std::collections::{HashMap, HashSet};

use crate::plan::tiny;
use crate::spaces::{ragged, spaces};
use proptest::prelude::*;
use pydarts::error::{ErrorKind, Result};
use pydarts::plan::passes::run;
use pydarts::plan::{Geometry, Module, Op, Plan, Scale, Scope, Shape, StatisticId, ValueId, WeightId};
use pydarts::space::{Operation, Space};

/// A pass that puts a second, useless rectifier behind the first one, or breaks the plan.
fn double(plan: &Plan, breaks: bool) -> Result<Plan> {
    let mut plan = plan.clone();
    let at = plan.instructions.iter().position(|instruction| instruction.op == Op::Relu).unwrap();
    let mut second = plan.instructions[at].clone();
    let fresh = ValueId(plan.values());
    second.inputs = vec![fresh];
    plan.instructions[at].output = if breaks { plan.input } else { fresh };
    plan.instructions.insert(at + 1, second);
    Ok(plan)
}

#[test]
fn a_pass_leaves_its_name_and_a_sound_plan() {
    let once = run(&tiny(), "doubling", |plan| double(plan, false)).unwrap();
    let twice = run(&once, "doubling", |plan| double(plan, false)).unwrap();
    assert_eq!(twice.passes, ["doubling", "doubling"]);
    assert!(twice.explain().contains("passes   doubling, doubling"));
    let broken = run(&tiny(), "doubling", |plan| double(plan, true));
    assert_eq!(broken.unwrap_err().kind, ErrorKind::Engine);
}

/// Something done to a sound plan.
type Damage = Box<dyn Fn(&mut Plan)>;

#[test]
fn check_finds_what_is_broken() {
    let sound = tiny();
    sound.check().unwrap();
    let find = |test: &dyn Fn(&Op) -> bool| sound.instructions.iter().position(|it| test(&it.op)).unwrap();
    let conv = find(&|op| matches!(op, Op::Conv { .. }));
    let norm = find(&|op| matches!(op, Op::BatchNorm { scale: Scale::One, .. }));
    let affine = find(&|op| matches!(op, Op::BatchNorm { scale: Scale::Affine { .. }, .. }));
    let mix = find(&|op| matches!(op, Op::Mix { .. }));
    let concat = find(&|op| matches!(op, Op::Concat { .. }));
    let linear = find(&|op| matches!(op, Op::Linear { .. }));
    let breaks: Vec<(&str, Damage)> = vec![
        ("a shape", Box::new(move |plan| plan.instructions[conv].shape = Shape(vec![1, 1, 1]))),
        ("an early use", Box::new(move |plan| plan.instructions[conv].inputs = vec![ValueId(9)])),
        ("an unknown value", Box::new(move |plan| plan.instructions[conv].inputs = vec![ValueId(usize::MAX)])),
        ("no input", Box::new(move |plan| plan.instructions[conv].inputs.clear())),
        ("a second definition", Box::new(move |plan| plan.instructions[conv].output = plan.input)),
        ("an instruction twice", Box::new(|plan| plan.instructions.push(plan.instructions[0].clone()))),
        ("another order", Box::new(move |plan| plan.instructions.swap(conv, affine))),
        ("a lost instruction", Box::new(move |plan| drop(plan.instructions.remove(norm)))),
        ("an unknown weight", Box::new(move |plan| plan.weights.clear())),
        ("a weight of another shape", Box::new(move |plan| plan.weights[0].shape[1] = 7)),
        ("a weight's name twice", Box::new(move |plan| plan.weights[1].name = plan.weights[0].name.clone())),
        ("a statistic's name twice", Box::new(move |plan| plan.statistics[1].name = plan.statistics[0].name.clone())),
        ("a statistic's channels", Box::new(move |plan| plan.statistics[1].width = 3)),
        (
            "an unknown statistic",
            Box::new(move |plan| {
                plan.instructions[norm].op =
                    Op::BatchNorm { statistic: StatisticId(999), members: 1, aliases: vec![], scale: Scale::One };
            }),
        ),
        (
            "an affine norm with another weight",
            Box::new(move |plan| {
                let scale = Scale::Affine { weight: WeightId(0), bias: WeightId(0) };
                plan.instructions[affine].op =
                    Op::BatchNorm { statistic: StatisticId(0), members: 1, aliases: vec![], scale };
            }),
        ),
        ("a table with too few rows", Box::new(|plan| plan.alphas.iter_mut().for_each(|alpha| alpha.rows.truncate(1)))),
        ("no tables", Box::new(|plan| plan.alphas.clear())),
        (
            "a mixture of none",
            Box::new(move |plan| {
                if let Op::Mix { terms, .. } = &mut plan.instructions[mix].op {
                    terms[0].1 = 0;
                }
            }),
        ),
        ("a lost term", Box::new(move |plan| plan.instructions[mix].inputs.truncate(1))),
        ("an empty concatenation", Box::new(move |plan| plan.instructions[concat].inputs.clear())),
        (
            "a bias of another length",
            Box::new(move |plan| {
                if let Op::Linear { weight, bias } = &mut plan.instructions[linear].op {
                    *bias = *weight;
                }
            }),
        ),
        ("another output", Box::new(|plan| plan.output = plan.input)),
        ("no output", Box::new(|plan| plan.output = ValueId(usize::MAX))),
    ];
    for (what, damage) in breaks {
        let mut plan = sound.clone();
        damage(&mut plan);
        let error = plan.check().expect_err(what);
        assert_eq!(error.kind, ErrorKind::Engine, "{what}");
    }
}

#[test]
fn the_largest_network_overflows_nothing() {
    let space = Space::from_json(r#"{"nodes": 1, "operations": ["sep_conv_7x7"], "reductions": [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15], "stem_multiplier": 64}"#).unwrap();
    let largest = Geometry {
        channels: 4096,
        layers: 16,
        num_classes: 10_000_000,
        in_channels: 4096,
        image_size: (65_536, 65_536),
    };
    let plan = Plan::lower(&space, &largest).unwrap();
    plan.check().unwrap();
    assert!(plan.cost().multiply_adds > 0);
    plan.explain();
}

/// Weights of an operation on one edge, from the paper's description and not from the plan.
fn weights_of(operation: Operation, channels: usize, stride: usize) -> usize {
    let (one, square) = (channels, channels * channels);
    match operation {
        Operation::SkipConnect if stride == 2 => square,
        Operation::SepConv3x3 => 2 * (9 * one + square),
        Operation::SepConv5x5 => 2 * (25 * one + square),
        Operation::SepConv7x7 => 2 * (49 * one + square),
        Operation::DilConv3x3 => 9 * one + square,
        Operation::DilConv5x5 => 25 * one + square,
        Operation::Conv1x1 | Operation::NorConv1x1 => square,
        Operation::Conv3x3 | Operation::NorConv3x3 => 9 * square,
        Operation::Conv7x1_1x7 => 14 * square,
        Operation::SepConv3 => 2 * (3 * one + square),
        Operation::SepConv5 => 2 * (5 * one + square),
        Operation::SepConv7 => 2 * (7 * one + square),
        Operation::SepConv15 => 2 * (15 * one + square),
        Operation::SepConv31 => 2 * (31 * one + square),
        Operation::DilConv3 => 3 * one + square,
        Operation::DilConv5 => 5 * one + square,
        Operation::DilConv7 => 7 * one + square,
        Operation::Conv1 => square,
        Operation::Conv3 => 3 * square,
        Operation::Conv5 => 5 * square,
        Operation::Conv7 => 7 * square,
        _ => 0,
    }
}

proptest! {
    #[test]
    fn a_random_network_is_sound_and_halves_its_size_upward((space, geometry) in prop_oneof![spaces(6, 4, 2..40), ragged(6, 4, 2..40)]) {
        let reductions = space.network.reductions().cloned().unwrap_or(vec![geometry.layers / 3, 2 * geometry.layers / 3]);
        let (mut height, mut width) = geometry.image_size;
        let mut channels = geometry.channels;
        let stem = space.network.stem_multiplier() * channels;
        let (mut before, mut last) = (stem, stem);
        let sequences = space.dimensions() == Some(1);
        let mut weights = if sequences { 9 } else { 27 } * stem + 2 * stem;
        let mut expected = HashMap::new();
        let mut refused = false;
        for cell in 0..geometry.layers {
            let reduction = reductions.contains(&cell);
            if reduction {
                refused |= (height < 2 && !sequences) || width < 2;
                (height, width, channels) = (height.div_ceil(2), width.div_ceil(2), 2 * channels);
            }
            weights += (before + last) * channels;
            let spec = &space.cells[usize::from(reduction)];
            for (row, edge) in space.edges().into_iter().enumerate() {
                let stride = if reduction && edge.from < 2 { 2 } else { 1 };
                weights += spec.operations(row).iter().map(|operation| weights_of(*operation, channels, stride)).sum::<usize>();
            }
            expected.insert(Scope::whole(Module::Cell(cell)), vec![space.concat().len() * channels, height, width]);
            (before, last) = (last, space.concat().len() * channels);
        }
        weights += 10 * last + 10;

        let plan = match Plan::lower(&space, &geometry) {
            Ok(plan) => plan,
            Err(error) => {
                prop_assert!(refused, "{}", error);
                prop_assert_eq!(error.kind, ErrorKind::Space);
                return Ok(());
            }
        };
        prop_assert!(!refused);
        plan.check().unwrap();
        prop_assert_eq!(plan.cost().weights, weights);
        for instruction in plan.instructions.iter().filter(|it| expected.contains_key(&it.scope)) {
            prop_assert_eq!(&instruction.shape.0, &expected[&instruction.scope]);
        }
        let text = plan.explain();
        for operation in space.all_operations() {
            prop_assert!(text.contains(operation.name()));
        }
        let candidates: usize = plan.alphas.iter().flat_map(|table| &table.rows).map(|row| row.candidates.len()).sum();
        prop_assert_eq!(plan.cost().alphas, candidates);
    }

    #[test]
    fn freeing_after_the_last_use_frees_all_but_the_output_and_nothing_early((space, geometry) in spaces(6, 4, 2..40)) {
        let Ok(plan) = Plan::lower(&space, &geometry) else { return Ok(()) };
        let mut alive = HashSet::from([plan.input]);
        for (instruction, dying) in plan.instructions.iter().zip(plan.last_uses()) {
            prop_assert!(instruction.inputs.iter().all(|value| alive.contains(value)));
            alive.insert(instruction.output);
            for value in dying {
                prop_assert!(alive.remove(&value), "value {} dies twice", value.0);
            }
        }
        prop_assert_eq!(alive, HashSet::from([plan.output]));
    }

    #[test]
    fn weights_are_in_the_order_of_their_first_use((space, geometry) in spaces(6, 4, 2..40)) {
        let Ok(plan) = Plan::lower(&space, &geometry) else { return Ok(()) };
        let mut used = Vec::new();
        for instruction in &plan.instructions {
            match &instruction.op {
                Op::Conv { weight, .. } => used.push(*weight),
                Op::BatchNorm { scale: Scale::Affine { weight, bias }, .. } | Op::Linear { weight, bias } => used.extend([*weight, *bias]),
                _ => {}
            }
        }
        prop_assert_eq!(used, (0..plan.weights.len()).map(WeightId).collect::<Vec<_>>());
    }
}
