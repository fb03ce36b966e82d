//! Dilated convolutions as undilated ones on the phases of the image (the algorithme à trous): rows and columns of
//! equal remainder by the dilation are an image of their own, in which the kernel's points are neighbours.
//!
//! libtorch's CPU kernels for the gradients of dilated depthwise convolutions take several times as long as those of
//! undilated ones. Pointwise convolutions, batch norms and ReLUs do not care where a pixel stands, so they go on in
//! phases, and what a node receives from all its dilated convolutions is put together once. A convolution whose
//! stride is its dilation reads one phase only. Images that cannot be split evenly keep their dilated convolutions.

use std::collections::HashMap;

use super::Pass;
use super::editor::Editor;
use crate::error::Result;
use crate::plan::{Instruction, Op, Plan, ValueId};

/// Rewrites dilated convolutions.
pub struct SpaceToBatch;

impl Pass for SpaceToBatch {
    fn name(&self) -> &'static str {
        "space_to_batch"
    }

    fn apply(&self, plan: Plan) -> Result<Plan> {
        let output = plan.output;
        let (editor, instructions) = Editor::new(plan);
        let mut rewrite = Rewrite { editor, split: HashMap::new() };
        instructions.into_iter().try_for_each(|instruction| rewrite.instruction(instruction))?;
        rewrite.whole(output, "")?;
        Ok(rewrite.editor.finish(output))
    }
}

/// A value as its phases.
#[derive(Clone, Copy)]
struct Phases {
    value: ValueId,
    factor: usize,
    /// Whether the image has been put together too.
    whole: bool,
}

struct Rewrite {
    editor: Editor,
    split: HashMap<ValueId, Phases>,
}

impl Rewrite {
    fn instruction(&mut self, instruction: Instruction) -> Result<()> {
        let split = instruction.inputs.first().and_then(|input| self.split.get(input)).copied();
        match (&instruction.op, split) {
            (Op::Conv { dilation: 2.., .. }, _) => self.dilated(instruction),
            (Op::BatchNorm { .. } | Op::Relu, Some(phases)) => self.in_phases(instruction, phases),
            (Op::Conv { .. }, Some(phases)) if self.is_pointwise(&instruction.op) => {
                self.in_phases(instruction, phases)
            }
            (Op::Mix { .. }, _) => self.mix(instruction),
            _ => self.as_it_is(instruction),
        }
    }

    fn is_pointwise(&self, op: &Op) -> bool {
        matches!(op, Op::Conv { weight, stride: [1, 1], padding: [0, 0], .. }
            if self.editor.weight_shape(*weight).ends_with(&[1, 1]))
    }

    fn as_it_is(&mut self, instruction: Instruction) -> Result<()> {
        for input in &instruction.inputs {
            self.whole(*input, &instruction.scope)?;
        }
        self.editor.keep(instruction);
        Ok(())
    }

    fn in_phases(&mut self, instruction: Instruction, phases: Phases) -> Result<()> {
        let value = self.editor.push(instruction.op, vec![phases.value], &instruction.scope)?;
        self.split.insert(instruction.output, Phases { value, whole: false, ..phases });
        Ok(())
    }

    fn dilated(&mut self, instruction: Instruction) -> Result<()> {
        let (Op::Conv { weight, members, stride, padding, dilation: factor, groups }, [input]) =
            (instruction.op.clone(), &instruction.inputs[..])
        else {
            return self.as_it_is(instruction);
        };
        if padding.iter().any(|extent| extent % factor != 0) {
            return self.as_it_is(instruction);
        }
        let padding = padding.map(|extent| extent / factor);
        let undilated = Op::Conv { weight, members, stride: [1, 1], padding, dilation: 1, groups };
        self.whole(*input, &instruction.scope)?;
        if stride == [factor; 2] {
            let phase = self.editor.push(Op::Subsample { factor }, vec![*input], &instruction.scope)?;
            return self.editor.define(undilated, vec![phase], &instruction.scope, instruction.output);
        }
        let extents = self.editor.shape(*input)?.0.split_first().map_or(&[][..], |(_, extents)| extents);
        if stride != [1, 1] || extents.iter().any(|extent| extent % factor != 0) {
            return self.as_it_is(instruction);
        }
        let phases = self.editor.push(Op::SpaceToBatch { factor }, vec![*input], &instruction.scope)?;
        let value = self.editor.push(undilated, vec![phases], &instruction.scope)?;
        self.split.insert(instruction.output, Phases { value, factor, whole: false });
        Ok(())
    }

    /// Mixes phases with phases and images with images, then adds the two.
    fn mix(&mut self, instruction: Instruction) -> Result<()> {
        let Op::Mix { alpha, terms } = &instruction.op else { return self.as_it_is(instruction) };
        let of_input = |input: &ValueId| self.split.get(input).filter(|phases| !phases.whole).copied();
        let Some(first) = instruction.inputs.iter().find_map(of_input) else { return self.as_it_is(instruction) };
        let (mut split, mut whole) = ((vec![], vec![]), (vec![], vec![]));
        for (input, term) in instruction.inputs.iter().zip(terms) {
            match of_input(input).filter(|phases| phases.factor == first.factor) {
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
        let mixed = self.editor.push(Op::Mix { alpha: *alpha, terms: split.1 }, split.0, scope)?;
        let together = Op::BatchToSpace { factor: first.factor };
        if whole.0.is_empty() {
            return self.editor.define(together, vec![mixed], scope, instruction.output);
        }
        for input in &whole.0 {
            self.whole(*input, scope)?;
        }
        let others = self.editor.push(Op::Mix { alpha: *alpha, terms: whole.1 }, whole.0, scope)?;
        let image = self.editor.push(together, vec![mixed], scope)?;
        self.editor.define(Op::Accumulate, vec![others, image], scope, instruction.output)
    }

    /// Puts a value together, if it has only been written in phases.
    fn whole(&mut self, value: ValueId, scope: &str) -> Result<()> {
        if let Some(phases) = self.split.get_mut(&value)
            && !phases.whole
        {
            phases.whole = true;
            let Phases { value: split, factor, .. } = *phases;
            self.editor.define(Op::BatchToSpace { factor }, vec![split], scope, value)?;
        }
        Ok(())
    }
}
