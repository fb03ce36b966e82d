//! The values of a recurrent plan that dropout applies to.

/// The values that variational dropout applies a mask to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DropoutTarget {
    /// Rows of the embedding, that is, whole words.
    Rows,
    /// The embedded input.
    Embedded,
    /// The input of the cell.
    Input,
    /// The hidden state, and every state of the cell, before they are multiplied by weights.
    Hidden,
    /// The output.
    Output,
}

impl DropoutTarget {
    /// All targets, in the order in which they are computed.
    pub const ALL: [DropoutTarget; 5] = [
        DropoutTarget::Rows,
        DropoutTarget::Embedded,
        DropoutTarget::Input,
        DropoutTarget::Hidden,
        DropoutTarget::Output,
    ];

    /// The name, as shown by `explain`.
    pub fn name(self) -> &'static str {
        match self {
            DropoutTarget::Rows => "rows",
            DropoutTarget::Embedded => "embedded",
            DropoutTarget::Input => "input",
            DropoutTarget::Hidden => "hidden",
            DropoutTarget::Output => "output",
        }
    }
}
