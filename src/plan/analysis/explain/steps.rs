//! An instruction of the explanation: the operation with its parameters.

use crate::plan::{By, Fill, MaskKind, MaskSpec, Op, Plan, Scale, WeightId};

impl Plan {
    /// An operation with its parameters; those with their usual value are left out.
    pub(super) fn step(&self, op: &Op) -> String {
        match op {
            Op::Conv { weight, members, stride, padding, dilation, groups } => {
                let Some([out, depth, tall, wide]) = self.kernel(*weight) else { return "convolution".to_string() };
                let out = out * members;
                let channels = match *groups {
                    1 => format!(" {depth}->{out}"),
                    _ if *groups == out && depth == 1 => " depthwise".to_string(),
                    groups => format!(" {}->{out} in {groups} groups", depth * groups),
                };
                let dilation = if *dilation == 1 { String::new() } else { format!(" dilation {dilation}") };
                format!("conv {tall}x{wide}{channels}{}{dilation}", window(*stride, *padding))
            }
            Op::BatchNorm { scale: Scale::One, .. } => "norm".to_string(),
            Op::BatchNorm { scale: Scale::Affine { .. }, .. } => "affine norm".to_string(),
            Op::BatchNorm { scale: Scale::Mixing { .. }, .. } => format!("norm scaled by {}", self.mixing(op)),
            Op::Relu => "relu".to_string(),
            Op::Bias { .. } => "bias".to_string(),
            Op::MaxPool { kernel, stride, padding, ceil } => {
                let past = if *ceil { " past the end" } else { "" };
                format!("max pool {}x{}{}{past}", kernel[0], kernel[1], window(*stride, *padding))
            }
            Op::AvgPool { kernel, stride, padding, outside, ceil, .. } => {
                let outside = if *outside == 0 { String::new() } else { format!(" without the first {outside}") };
                let past = if *ceil { " past the end" } else { "" };
                format!("mean pool {}x{}{}{outside}{past}", kernel[0], kernel[1], window(*stride, *padding))
            }
            Op::Pad { left, fill: Fill::Zero } => format!("pad {left} zeros at the left"),
            Op::Pad { left, fill: Fill::Lowest } => format!("pad {left} times -inf at the left"),
            Op::Shift { by: [By::Nothing, By::Next] } => "shift by one column".to_string(),
            Op::Shift { by: [_, By::Previous] } => "shift by one column to the right".to_string(),
            Op::Shift { .. } => "shift by one row and column".to_string(),
            Op::Concat { blocks: 1 } => "concat".to_string(),
            Op::Concat { blocks } => format!("concat in turn {blocks} blocks of each"),
            Op::Mix { .. } => format!("mix by {}", self.mixing(op)),
            Op::Stack => "stack".to_string(),
            Op::Mixtures { rows, .. } => format!("{} mixtures by {}", rows.len(), self.mixing(op)),
            Op::Unstack { index, of } => format!("value {index} of {of}"),
            Op::Subsample { factors: [1, factor] } => format!("one column in {factor}"),
            Op::Subsample { factors } => format!("one row and column in{}", both("", *factors, 0)),
            Op::SpaceToBatch { factors } => format!("space to batch by{}", both("", *factors, 0)),
            Op::BatchToSpace { factors } => format!("batch to space by{}", both("", *factors, 0)),
            Op::Repeat { times } => format!("repeat {times} times"),
            Op::Slice { index, of } => format!("block {index} of {of}"),
            Op::Cut { at, rest: false } => format!("channels before {at}"),
            Op::Cut { at, rest: true } => format!("channels from {at}"),
            Op::Shuffle { by } => format!("shuffle by {by}"),
            Op::Add => "add".to_string(),
            Op::Accumulate => "add in place".to_string(),
            Op::GlobalAvgPool => "mean over height and width".to_string(),
            Op::Lookup { .. } => "its row".to_string(),
            Op::Mask { target } => format!("drop {}", target.name()),
            Op::Drop { mask } => match self.masks.get(mask.0) {
                Some(MaskSpec { kind: MaskKind::DropPath, name, .. }) => {
                    format!("drop path {}", name.rsplit('.').next().unwrap_or_default())
                }
                _ => "dropout".to_string(),
            },
            Op::Product { weight, rows } => self.product(*weight, *rows),
            Op::Gate { activation } => format!("gate {}", activation.name()),
            Op::Gates { columns, .. } => {
                let names: Vec<&str> = columns.iter().map(|(_, activation)| activation.name()).collect();
                format!("gates {} by {}", names.join(", "), self.mixing(op))
            }
            Op::Own { stride: 1, .. } => "own module".to_string(),
            Op::Own { stride, .. } => format!("own module stride {stride}"),
            Op::Mean => "mean".to_string(),
            Op::Noise { stride: 1 } => "noise".to_string(),
            Op::Noise { stride } => format!("noise stride {stride}"),
            Op::Linear { weight, .. } => match self.weight_shape(*weight) {
                [out, features] => format!("linear {features}->{out}"),
                _ => "linear".to_string(),
            },
        }
    }

    fn product(&self, weight: WeightId, (first, count): (usize, usize)) -> String {
        let [depth, out] = *self.weight_shape(weight) else { return "product".to_string() };
        let rows = if count == depth { String::new() } else { format!(", rows from {first}") };
        format!("product {count}->{out}{rows}")
    }

    /// The mixing weights m of an operation, as "m(normal), rows 0-1, columns 3-7".
    fn mixing(&self, op: &Op) -> String {
        let Some((alpha, cells)) = op.mixing() else { return String::new() };
        let table = self.mixing_table(alpha).map_or("?", |alpha| alpha.name.as_str());
        let rows: Vec<usize> = cells.iter().map(|(row, _)| *row).collect();
        let columns: Vec<usize> = cells.iter().map(|(_, column)| *column).collect();
        match cells[..] {
            [(row, column)] => format!("m({table})[{row}, {column}]"),
            _ => format!("m({table}), rows {}, columns {}", runs(&rows), runs(&columns)),
        }
    }
}

/// The stride and padding of a window; nothing for a stride of 1 and no padding.
fn window(stride: [usize; 2], padding: [usize; 2]) -> String {
    format!("{}{}", both(" stride", stride, 1), both(" padding", padding, 0))
}

/// A vertical and a horizontal parameter; nothing when both have their usual value.
fn both(what: &str, [down, across]: [usize; 2], usual: usize) -> String {
    match (down, across) {
        _ if down == usual && across == usual => String::new(),
        _ if down == across => format!("{what} {down}"),
        _ => format!("{what} {down}x{across}"),
    }
}

/// Numbers without repetition, consecutive ones as a range: "0-1, 4".
fn runs(numbers: &[usize]) -> String {
    let mut sorted = numbers.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for number in sorted {
        match runs.last_mut() {
            Some((_, end)) if *end + 1 == number => *end = number,
            _ => runs.push((number, number)),
        }
    }
    let written =
        |(begin, end): &(usize, usize)| if begin == end { begin.to_string() } else { format!("{begin}-{end}") };
    runs.iter().map(written).collect::<Vec<_>>().join(", ")
}
