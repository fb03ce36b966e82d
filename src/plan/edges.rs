//! Options of the edges of convolutional cells.

/// How the edges of convolutional cells are computed and summed. The default is the published cell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EdgeOptions {
    /// Whether mixed edges are dropped.
    pub drop_path: bool,
    /// Whether elements of skip connections are dropped.
    pub skip_dropout: bool,
}
