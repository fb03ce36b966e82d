//! Plans: the instructions of each operation on one edge.

use crate::plan::geometry;
use pydarts::error::ErrorKind;
use pydarts::plan::{Op, Plan, Scale};
use pydarts::space::Space;

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
