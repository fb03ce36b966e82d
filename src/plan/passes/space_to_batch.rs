//! Dilated convolutions as undilated ones on the phases of the image (the algorithme à trous): rows and columns of
//! equal remainder by the dilation are an image of their own, in which the kernel's points are neighbours.
//!
//! libtorch's CPU kernels for the gradients of dilated depthwise convolutions take several times as long as those of
//! undilated ones. Pointwise convolutions, batch norms and ReLUs work on phases as on images, and a node's dilated
//! convolutions are put together once, after they are mixed. A convolution whose stride is its dilation reads one phase
//! only. Images that cannot be split evenly keep their dilated convolutions.

use std::collections::HashMap;

use super::editor::Editor;
use crate::error::Result;
use crate::plan::{Instruction, Op, Plan, Scope, ValueId};

pub(super) fn apply(plan: &Plan) -> Result<Plan> {
    let mut splitting = Splitting { plan, split: HashMap::new() };
    Editor::rewrite(plan, |editor, instruction| splitting.instruction(editor, instruction))
}

/// A value as its phases.
#[derive(Clone, Copy)]
struct Phases {
    value: ValueId,
    factors: [usize; 2],
    /// Whether the image has been put together too.
    whole: bool,
}

struct Splitting<'a> {
    plan: &'a Plan,
    split: HashMap<ValueId, Phases>,
}

impl Splitting<'_> {
    fn instruction(&mut self, editor: &mut Editor, instruction: &Instruction) -> Result<()> {
        let split = instruction.inputs.first().and_then(|input| self.split.get(input)).copied();
        match (&instruction.op, split) {
            (Op::Conv { dilation: 2.., .. }, _) => self.dilated(editor, instruction),
            (Op::BatchNorm { .. } | Op::Relu, Some(phases)) => self.in_phases(editor, instruction, phases),
            (Op::Conv { .. }, Some(phases)) if self.is_pointwise(&instruction.op) => {
                self.in_phases(editor, instruction, phases)
            }
            (Op::Mix { .. }, _) => self.mix(editor, instruction),
            _ => self.unsplit(editor, instruction),
        }
    }

    fn is_pointwise(&self, op: &Op) -> bool {
        matches!(op, Op::Conv { weight, stride: [1, 1], padding: [0, 0], .. }
            if matches!(self.plan.kernel(*weight), Some([_, _, 1, 1])))
    }

    /// Writes an instruction that needs whole images.
    fn unsplit(&mut self, editor: &mut Editor, instruction: &Instruction) -> Result<()> {
        for input in &instruction.inputs {
            self.whole(editor, *input, &instruction.scope)?;
        }
        editor.keep(instruction)
    }

    /// Writes an instruction that works on phases as on images.
    fn in_phases(&mut self, editor: &mut Editor, instruction: &Instruction, phases: Phases) -> Result<()> {
        let value = editor.push(instruction.op.clone(), vec![phases.value], &instruction.scope)?;
        self.split.insert(instruction.output, Phases { value, whole: false, ..phases });
        Ok(())
    }

    fn dilated(&mut self, editor: &mut Editor, instruction: &Instruction) -> Result<()> {
        let (Op::Conv { weight, members, stride, padding, dilation, groups }, [input]) =
            (instruction.op.clone(), &instruction.inputs[..])
        else {
            return self.unsplit(editor, instruction);
        };
        let Some([_, _, tall, wide]) = self.plan.kernel(weight) else { return self.unsplit(editor, instruction) };
        // Along an axis on which the kernel has one point there is no dilation.
        let factors = [tall, wide].map(|points| if points == 1 { 1 } else { dilation });
        if padding.iter().zip(factors).any(|(extent, factor)| extent % factor != 0) {
            return self.unsplit(editor, instruction);
        }
        let padding = [padding[0] / factors[0], padding[1] / factors[1]];
        let undilated = Op::Conv { weight, members, stride: [1, 1], padding, dilation: 1, groups };
        self.whole(editor, *input, &instruction.scope)?;
        if stride == factors {
            let phase = editor.push(Op::Subsample { factors }, vec![*input], &instruction.scope)?;
            return editor.define(undilated, vec![phase], &instruction.scope, instruction.output);
        }
        let extents = editor.shape(*input)?.0.split_first().map_or(&[][..], |(_, extents)| extents);
        if stride != [1, 1] || extents.iter().zip(factors).any(|(extent, factor)| extent % factor != 0) {
            return self.unsplit(editor, instruction);
        }
        let phases = editor.push(Op::SpaceToBatch { factors }, vec![*input], &instruction.scope)?;
        let value = editor.push(undilated, vec![phases], &instruction.scope)?;
        self.split.insert(instruction.output, Phases { value, factors, whole: false });
        Ok(())
    }

    /// Mixes phases with phases and images with images, then adds the two.
    fn mix(&mut self, editor: &mut Editor, instruction: &Instruction) -> Result<()> {
        let Op::Mix { alpha, terms } = &instruction.op else { return self.unsplit(editor, instruction) };
        let of_input = |input: &ValueId| self.split.get(input).filter(|phases| !phases.whole).copied();
        let Some(first) = instruction.inputs.iter().find_map(of_input) else {
            return self.unsplit(editor, instruction);
        };
        let (mut split, mut whole) = ((vec![], vec![]), (vec![], vec![]));
        for (input, term) in instruction.inputs.iter().zip(terms) {
            match of_input(input).filter(|phases| phases.factors == first.factors) {
                Some(phases) => {
                    split.0.push(phases.value);
                    split.1.push(*term);
                }
                None => {
                    whole.0.push(*input);
                    whole.1.push(*term);
                }
            }
        }
        let scope = &instruction.scope;
        let mixed = editor.push(Op::Mix { alpha: *alpha, terms: split.1 }, split.0, scope)?;
        let together = Op::BatchToSpace { factors: first.factors };
        if whole.0.is_empty() {
            return editor.define(together, vec![mixed], scope, instruction.output);
        }
        for input in &whole.0 {
            self.whole(editor, *input, scope)?;
        }
        let others = editor.push(Op::Mix { alpha: *alpha, terms: whole.1 }, whole.0, scope)?;
        let image = editor.push(together, vec![mixed], scope)?;
        editor.define(Op::Accumulate, vec![others, image], scope, instruction.output)
    }

    /// Puts an image together, unless it has been written already.
    fn whole(&mut self, editor: &mut Editor, value: ValueId, scope: &Scope) -> Result<()> {
        if let Some(phases) = self.split.get_mut(&value)
            && !phases.whole
        {
            phases.whole = true;
            let Phases { value: split, factors, .. } = *phases;
            editor.define(Op::BatchToSpace { factors }, vec![split], scope, value)?;
        }
        Ok(())
    }
}
