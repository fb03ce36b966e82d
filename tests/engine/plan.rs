//! Plans: the lowered network against restatements of its names, counts and shapes, and what keeps a plan sound.

use std::collections::{HashMap, HashSet};

use crate::spaces::{ragged, spaces};
use proptest::prelude::*;
use pydarts::config::SearchConfig;
use pydarts::error::{ErrorKind, Result};
use pydarts::plan::passes::run;
use pydarts::plan::{
    AlphaId, Geometry, Init, Language, Module, Op, Plan, Scale, Scope, Shape, Sizes, StatisticId, ValueId, WeightId,
};
use pydarts::space::{Operation, Space, Stages};

fn darts() -> Space {
    Space::preset("darts").unwrap()
}

/// The space with reduction cells in these positions.
fn reducing(mut space: Space, reductions: Option<Vec<usize>>) -> Space {
    space.network.stages = Stages::Chain { reductions };
    space
}

fn geometry(channels: usize, layers: usize, size: (usize, usize)) -> Geometry {
    Geometry { channels, layers, num_classes: 10, in_channels: 3, image_size: size }
}

fn default_plan() -> Plan {
    Plan::lower(&darts(), &geometry(16, 8, (32, 32))).unwrap()
}

/// One node, four operations, three cells of which the last two are reductions.
fn tiny() -> Plan {
    let space =
        r#"{"name": "tiny", "nodes": 1, "operations": ["none", "max_pool_3x3", "skip_connect", "sep_conv_3x3"]}"#;
    Plan::lower(&Space::from_json(space).unwrap(), &geometry(4, 3, (9, 8))).unwrap()
}

fn weight_names(plan: &Plan) -> Vec<&str> {
    plan.weights.iter().map(|weight| weight.name.as_str()).collect()
}

#[test]
fn the_default_network_has_the_published_number_of_weights() {
    let plan = default_plan();
    assert_eq!(plan.cost().weights, 1_930_618);
    assert_eq!(plan.cost().alphas, 2 * 14 * 8);
}

#[test]
fn a_configuration_has_the_plan_of_its_space_or_says_which_size_is_missing() {
    let of = |text: &str| Plan::of_config(&SearchConfig::from_json(text).unwrap(), None);
    let images = r#"{"num_classes": 10, "in_channels": 3, "image_size": 32}"#;
    assert_eq!(of(images).unwrap(), default_plan());
    let words = of(r#"{"space": "darts-rnn", "num_classes": 10000}"#).unwrap();
    assert_eq!(words.sizes, Sizes::Words(Language { words: 10_000, units: 300 }));
    for (text, missing) in [
        ("{}", "num_classes"),
        (r#"{"num_classes": 10}"#, "in_channels"),
        (r#"{"num_classes": 10, "in_channels": 3}"#, "image_size"),
    ] {
        let error = of(text).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Config);
        assert!(error.detail.starts_with(&format!("`{missing}` is not known")), "{error}");
    }
}

#[test]
fn the_default_plan_costs_what_autograd_was_seen_to_keep() {
    // The elements were counted once in PyTorch 2.11, with a hook on every tensor that its autograd saves during the
    // forward pass of a plainly written network of this size.
    let cost = default_plan().cost();
    assert_eq!(cost.activation_elements_weight_loss, 22_510_848);
    assert_eq!(cost.activation_elements_arch_loss, 28_458_240);
    assert_eq!(cost.pooling_indices, 974_848);
    let indices = 8 * 974_848;
    assert_eq!(cost.bytes_per_example(4), (4 * 28_458_240 + indices, 4 * 22_510_848 + indices));
    let text = cost.to_string();
    assert!(text.contains("1,930,618") && text.contains("93.3 MiB") && text.contains("116.0 MiB"), "{text}");
}

#[test]
fn weights_are_named_as_documented_in_the_order_of_first_use() {
    let names = weight_names(&tiny()).join("\n");
    let expected = "\
stem.conv.weight
stem.bn.weight
stem.bn.bias
cells.0.pre0.conv.weight
cells.0.pre1.conv.weight
cells.0.edges.0_2.sep_conv_3x3.dw1.weight
cells.0.edges.0_2.sep_conv_3x3.pw1.weight
cells.0.edges.0_2.sep_conv_3x3.dw2.weight
cells.0.edges.0_2.sep_conv_3x3.pw2.weight
cells.0.edges.1_2.sep_conv_3x3.dw1.weight
cells.0.edges.1_2.sep_conv_3x3.pw1.weight
cells.0.edges.1_2.sep_conv_3x3.dw2.weight
cells.0.edges.1_2.sep_conv_3x3.pw2.weight
cells.1.pre0.conv.weight
cells.1.pre1.conv.weight
cells.1.edges.0_2.skip_connect.conv_1.weight
cells.1.edges.0_2.skip_connect.conv_2.weight
cells.1.edges.0_2.sep_conv_3x3.dw1.weight
cells.1.edges.0_2.sep_conv_3x3.pw1.weight
cells.1.edges.0_2.sep_conv_3x3.dw2.weight
cells.1.edges.0_2.sep_conv_3x3.pw2.weight
cells.1.edges.1_2.skip_connect.conv_1.weight
cells.1.edges.1_2.skip_connect.conv_2.weight
cells.1.edges.1_2.sep_conv_3x3.dw1.weight
cells.1.edges.1_2.sep_conv_3x3.pw1.weight
cells.1.edges.1_2.sep_conv_3x3.dw2.weight
cells.1.edges.1_2.sep_conv_3x3.pw2.weight
cells.2.pre0.conv_1.weight
cells.2.pre0.conv_2.weight
cells.2.pre1.conv.weight
cells.2.edges.0_2.skip_connect.conv_1.weight
cells.2.edges.0_2.skip_connect.conv_2.weight
cells.2.edges.0_2.sep_conv_3x3.dw1.weight
cells.2.edges.0_2.sep_conv_3x3.pw1.weight
cells.2.edges.0_2.sep_conv_3x3.dw2.weight
cells.2.edges.0_2.sep_conv_3x3.pw2.weight
cells.2.edges.1_2.skip_connect.conv_1.weight
cells.2.edges.1_2.skip_connect.conv_2.weight
cells.2.edges.1_2.sep_conv_3x3.dw1.weight
cells.2.edges.1_2.sep_conv_3x3.pw1.weight
cells.2.edges.1_2.sep_conv_3x3.dw2.weight
cells.2.edges.1_2.sep_conv_3x3.pw2.weight
classifier.weight
classifier.bias";
    assert_eq!(names, expected);
}

#[test]
fn statistics_are_named_as_documented() {
    let plan = tiny();
    let names: Vec<&str> = plan.statistics.iter().map(|statistic| statistic.name.as_str()).collect();
    let of_cell = |cell: usize, skip: bool| {
        let mut names = vec![format!("cells.{cell}.pre0.bn"), format!("cells.{cell}.pre1.bn")];
        for edge in ["0_2", "1_2"] {
            let edge = format!("cells.{cell}.edges.{edge}");
            names.push(format!("{edge}.max_pool_3x3.bn"));
            names.extend(skip.then(|| format!("{edge}.skip_connect.bn")));
            names.push(format!("{edge}.sep_conv_3x3.bn1"));
            names.push(format!("{edge}.sep_conv_3x3.bn2"));
        }
        names
    };
    let expected = [vec!["stem.bn".to_string()], of_cell(0, false), of_cell(1, true), of_cell(2, true)].concat();
    assert_eq!(names, expected);
}

/// Every operation an edge of a convolutional cell can have, alone on the single edge of interest.
/// What a sequence of length 8 runs into on the first edge of a cell with one operation.
fn on_sequences(operation: &str, stride: usize, causal: bool) -> Vec<String> {
    let space = format!(
        r#"{{"dimensions": 1, "nodes": 1, "operations": ["{operation}"], "reductions": {}, "causal": {causal}}}"#,
        if stride == 2 { "[0]" } else { "[]" }
    );
    let plan = Plan::lower(&Space::from_json(&space).unwrap(), &geometry(8 / stride, 1, (1, 8))).unwrap();
    let scope = format!("cells.0.edges.0_2.{operation}");
    let own = plan.instructions.iter().filter(|instruction| instruction.scope.to_string() == scope);
    own.filter(|instruction| !matches!(instruction.op, Op::BatchNorm { .. } | Op::Relu))
        .map(|instruction| match &instruction.op {
            Op::Conv { weight, stride, padding, dilation, groups, .. } => {
                let shape = &plan.weights[weight.0].shape;
                format!("{shape:?} s{stride:?} p{padding:?} d{dilation} g{groups} -> {}", instruction.shape)
            }
            other => format!("{other:?} -> {}", instruction.shape),
        })
        .collect()
}

#[test]
fn sequences_have_windows_of_height_one_and_causal_ones_their_padding_in_front() {
    for (operation, stride, causal, expected) in [
        (
            "sep_conv_5",
            2,
            false,
            &[
                "[8, 1, 5] s[1, 2] p[0, 2] d1 g8 -> 8x1x4",
                "[8, 8, 1] s[1, 1] p[0, 0] d1 g1 -> 8x1x4",
                "[8, 1, 5] s[1, 1] p[0, 2] d1 g8 -> 8x1x4",
                "[8, 8, 1] s[1, 1] p[0, 0] d1 g1 -> 8x1x4",
            ][..],
        ),
        (
            "dil_conv_3",
            1,
            true,
            &[
                "Pad { left: 4, fill: Zero } -> 8x1x12",
                "[8, 1, 3] s[1, 1] p[0, 0] d2 g8 -> 8x1x8",
                "[8, 8, 1] s[1, 1] p[0, 0] d1 g1 -> 8x1x8",
            ],
        ),
        (
            "max_pool_3",
            2,
            true,
            &[
                "Pad { left: 2, fill: Lowest } -> 8x1x10",
                "MaxPool { kernel: [1, 3], stride: [1, 2], padding: [0, 0], ceil: false } -> 8x1x4",
            ],
        ),
        (
            "avg_pool_5",
            1,
            true,
            &[
                "Pad { left: 4, fill: Zero } -> 8x1x12",
                "AvgPool { kernel: [1, 5], stride: [1, 1], padding: [0, 0], outside: 4, ceil: false, convolve: false } -> 8x1x8",
            ],
        ),
        (
            "avg_pool_3",
            1,
            false,
            &[
                "AvgPool { kernel: [1, 3], stride: [1, 1], padding: [0, 1], outside: 0, ceil: false, convolve: false } -> 8x1x8",
            ],
        ),
        (
            "skip_connect",
            2,
            true,
            &[
                "[4, 8, 1] s[1, 2] p[0, 0] d1 g1 -> 4x1x4",
                "Shift { by: [Nothing, Previous] } -> 8x1x8",
                "[4, 8, 1] s[1, 2] p[0, 0] d1 g1 -> 4x1x4",
                "Concat { blocks: 1 } -> 8x1x4",
            ],
        ),
    ] {
        assert_eq!(on_sequences(operation, stride, causal), expected, "{operation}");
    }
    let preset = Space::preset("darts-1d").unwrap();
    for (geometry, reason) in [(geometry(4, 3, (2, 8)), "height 1"), (geometry(4, 3, (1, 2)), "length 1")] {
        let error = Plan::lower(&preset, &geometry).unwrap_err();
        assert!(error.kind == ErrorKind::Space && error.detail.contains(reason), "{error}");
    }
}

#[test]
fn each_operation_has_the_weights_statistics_and_windows_of_the_paper() {
    // Operation, and per stride: weights as name and shape, statistics, windows as stride, padding, dilation, groups.
    let names = |stride: usize, operation: &str| {
        let space = format!(
            r#"{{"nodes": 1, "operations": ["{operation}"], "reductions": {}}}"#,
            if stride == 2 { "[0]" } else { "[]" }
        );
        // A reduction doubles the channels: 8 of them either way.
        let channels = 8 / stride;
        let plan = Plan::lower(&Space::from_json(&space).unwrap(), &geometry(channels, 1, (8, 8))).unwrap();
        let scope = format!("cells.0.edges.0_2.{operation}");
        let mut lines = Vec::new();
        for instruction in plan.instructions.iter().filter(|instruction| instruction.scope.to_string() == scope) {
            lines.push(match &instruction.op {
                Op::Conv { weight, stride, padding, dilation, groups, .. } => {
                    let weight = &plan.weights[weight.0];
                    let name = weight.name.strip_prefix(&format!("{scope}.")).unwrap();
                    format!("{name} {:?} s{stride:?} p{padding:?} d{dilation} g{groups}", weight.shape)
                }
                Op::BatchNorm { statistic, scale: Scale::One, .. } => {
                    plan.statistics[statistic.0].name.strip_prefix(&format!("{scope}.")).unwrap().to_string()
                }
                other => format!("{other:?}"),
            });
        }
        lines.join("; ")
    };
    for (operation, stride, expected) in [
        ("skip_connect", 1, ""),
        (
            "skip_connect",
            2,
            "Relu; conv_1.weight [4, 8, 1, 1] s[2, 2] p[0, 0] d1 g1; Shift { by: [Next, Next] }; \
             conv_2.weight [4, 8, 1, 1] s[2, 2] p[0, 0] d1 g1; Concat { blocks: 1 }; bn",
        ),
        ("max_pool_3x3", 1, "MaxPool { kernel: [3, 3], stride: [1, 1], padding: [1, 1], ceil: false }; bn"),
        ("max_pool_3x3", 2, "MaxPool { kernel: [3, 3], stride: [2, 2], padding: [1, 1], ceil: false }; bn"),
        (
            "avg_pool_3x3",
            2,
            "AvgPool { kernel: [3, 3], stride: [2, 2], padding: [1, 1], outside: 0, ceil: false, convolve: false }; bn",
        ),
        (
            "sep_conv_3x3",
            2,
            "Relu; dw1.weight [8, 1, 3, 3] s[2, 2] p[1, 1] d1 g8; pw1.weight [8, 8, 1, 1] s[1, 1] p[0, 0] d1 g1; bn1; \
             Relu; dw2.weight [8, 1, 3, 3] s[1, 1] p[1, 1] d1 g8; pw2.weight [8, 8, 1, 1] s[1, 1] p[0, 0] d1 g1; bn2",
        ),
        (
            "sep_conv_5x5",
            1,
            "Relu; dw1.weight [8, 1, 5, 5] s[1, 1] p[2, 2] d1 g8; pw1.weight [8, 8, 1, 1] s[1, 1] p[0, 0] d1 g1; bn1; \
             Relu; dw2.weight [8, 1, 5, 5] s[1, 1] p[2, 2] d1 g8; pw2.weight [8, 8, 1, 1] s[1, 1] p[0, 0] d1 g1; bn2",
        ),
        (
            "sep_conv_7x7",
            1,
            "Relu; dw1.weight [8, 1, 7, 7] s[1, 1] p[3, 3] d1 g8; pw1.weight [8, 8, 1, 1] s[1, 1] p[0, 0] d1 g1; bn1; \
             Relu; dw2.weight [8, 1, 7, 7] s[1, 1] p[3, 3] d1 g8; pw2.weight [8, 8, 1, 1] s[1, 1] p[0, 0] d1 g1; bn2",
        ),
        (
            "dil_conv_3x3",
            2,
            "Relu; dw.weight [8, 1, 3, 3] s[2, 2] p[2, 2] d2 g8; pw.weight [8, 8, 1, 1] s[1, 1] p[0, 0] d1 g1; bn",
        ),
        (
            "dil_conv_5x5",
            1,
            "Relu; dw.weight [8, 1, 5, 5] s[1, 1] p[4, 4] d2 g8; pw.weight [8, 8, 1, 1] s[1, 1] p[0, 0] d1 g1; bn",
        ),
        ("noise", 1, "Noise { stride: 1 }"),
        ("noise", 2, "Noise { stride: 2 }"),
        ("conv_1x1", 2, "Relu; conv.weight [8, 8, 1, 1] s[2, 2] p[0, 0] d1 g1; bn"),
        ("conv_3x3", 1, "Relu; conv.weight [8, 8, 3, 3] s[1, 1] p[1, 1] d1 g1; bn"),
        (
            "conv_7x1_1x7",
            2,
            "Relu; conv_1x7.weight [8, 8, 1, 7] s[1, 2] p[0, 3] d1 g1; \
             conv_7x1.weight [8, 8, 7, 1] s[2, 1] p[3, 0] d1 g1; bn",
        ),
    ] {
        assert_eq!(names(stride, operation), expected, "{operation} with stride {stride}");
    }
}

#[test]
fn weights_start_as_the_usual_layers_draw_them() {
    let plan = default_plan();
    let init: HashMap<&str, Init> = plan.weights.iter().map(|weight| (weight.name.as_str(), weight.init)).collect();
    assert_eq!(init["stem.conv.weight"], Init::FanIn(27));
    assert_eq!((init["stem.bn.weight"], init["stem.bn.bias"]), (Init::Constant(1.0), Init::Constant(0.0)));
    assert_eq!(init["cells.1.pre1.conv.weight"], Init::FanIn(64));
    assert_eq!(init["cells.0.edges.0_2.sep_conv_5x5.dw1.weight"], Init::FanIn(25));
    assert_eq!(init["cells.0.edges.0_2.sep_conv_5x5.pw1.weight"], Init::FanIn(16));
    assert_eq!((init["classifier.weight"], init["classifier.bias"]), (Init::FanIn(256), Init::FanIn(256)));
}

#[test]
fn both_tables_stand_even_where_no_cell_uses_one() {
    let space = Space::from_json(r#"{"reductions": []}"#).unwrap();
    let plan = Plan::lower(&space, &geometry(2, 2, (8, 8))).unwrap();
    let names: Vec<&str> = plan.alphas.iter().map(|alpha| alpha.name.as_str()).collect();
    assert_eq!(names, ["normal", "reduce"]);
}

#[test]
fn a_mixture_takes_every_operation_but_none_of_every_edge_into_its_node() {
    let plan = default_plan();
    let mixes: Vec<_> = plan.instructions.iter().filter(|it| it.scope == Scope::node(Module::Cell(2), 3)).collect();
    let [mix] = mixes[..] else { panic!("{} mixtures", mixes.len()) };
    let expected: Vec<(usize, usize)> = (2..5).flat_map(|row| (1..8).map(move |column| (row, column))).collect();
    assert_eq!(mix.op, Op::Mix { alpha: AlphaId(1), terms: expected });
}

#[test]
fn reductions_stand_at_a_third_and_two_thirds_unless_the_space_says_otherwise() {
    let reduced = |space: &Space, layers: usize| -> Vec<usize> {
        let plan = Plan::lower(space, &geometry(2, layers, (64, 64))).unwrap();
        let tables = plan.instructions.iter().filter_map(|it| match &it.op {
            Op::Mix { alpha: AlphaId(1), .. } => match it.scope.module {
                Module::Cell(cell) => Some(cell),
                _ => None,
            },
            _ => None,
        });
        tables.collect::<std::collections::BTreeSet<usize>>().into_iter().collect()
    };
    let own = Space::from_json(r#"{"nodes": 1, "operations": ["conv_1x1"], "reductions": [3, 1]}"#).unwrap();
    let published = reducing(own.clone(), None);
    assert_eq!(reduced(&published, 8), [2, 5]);
    assert_eq!(reduced(&published, 3), [1, 2]);
    assert_eq!(reduced(&published, 2), [0, 1]);
    assert_eq!(reduced(&published, 1), [0]);
    assert_eq!(reduced(&own, 4), [1, 3]);
}

#[test]
fn what_cannot_be_built_is_refused_with_the_cell_the_size_and_the_remedy() {
    let refused = |space: &Space, geometry: &Geometry| {
        let error = Plan::lower(space, geometry).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Space);
        error.detail
    };
    let good = geometry(4, 8, (32, 32));
    for (geometry, reason) in [
        (Geometry { channels: 0, ..good }, "`channels` is 0; it must be from 1 to 4096"),
        (Geometry { layers: 0, ..good }, "`layers` is 0"),
        (Geometry { num_classes: 0, ..good }, "`num_classes` is 0"),
        (Geometry { in_channels: usize::MAX, ..good }, "`in_channels` is"),
        (Geometry { image_size: (32, 0), ..good }, "`image_size` is 32x0"),
        (Geometry { image_size: (usize::MAX, 4), ..good }, "`image_size` is"),
        (
            Geometry { image_size: (1, 9), ..good },
            "cell 2 is a reduction cell and its input is 1x9; a reduction needs at least 2x2. Use images larger than 1x9",
        ),
        (Geometry { image_size: (9, 2), ..good }, "cell 5 is a reduction cell and its input is 5x1"),
    ] {
        let detail = refused(&darts(), &geometry);
        assert!(detail.contains(reason), "{detail}");
    }
    let space = reducing(darts(), Some(vec![8]));
    let detail = refused(&space, &good);
    assert!(detail.contains("`reductions` names cell 8; a network of 8 layers has the cells 0 to 7"), "{detail}");
    let detail = refused(&Space::preset("darts-rnn").unwrap(), &good);
    assert!(detail.contains("it reads words, not images"), "{detail}");
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

#[test]
fn explain_shows_the_lowered_plan_of_s1() {
    let space = Space::preset("s1").unwrap();
    let plan = Plan::lower(&space, &geometry(4, 3, (8, 8))).unwrap();
    insta::assert_snapshot!("the_lowered_plan_of_s1", plan.explain());
}

#[test]
fn explain_shows_every_part_of_a_tiny_network() {
    insta::assert_snapshot!(tiny().explain());
}

#[test]
fn explain_stays_readable_for_the_default_network() {
    let text = default_plan().explain();
    assert!(text.lines().count() < 250, "{} lines", text.lines().count());
    for part in ["cells 0, 1: normal", "cell 2: reduce", "cells 3, 4: normal", "passes   none", "1,930,618"] {
        assert!(text.contains(part), "`{part}` is missing");
    }
}

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
