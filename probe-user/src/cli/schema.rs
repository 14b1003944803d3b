//! `probe schema`.

use clap::Args;

/// Print the JSON Schema of a document that probe prints with --format json.
#[derive(Args, Debug)]
pub struct Schema {
    /// Name of the document, e.g. diagnosis or probe.diagnosis/1
    #[arg(value_name = "NAME", required_unless_present = "list", conflicts_with = "list")]
    pub name: Option<String>,
    /// Print the names of all documents
    #[arg(short, long)]
    pub list: bool,
}
