//! `pmctl ls`: the devices, a line each.

use clap::ValueEnum;
use pool_metadata::{DeviceInfo, DeviceRef};
use serde_json::{Map, Value};

use crate::commands::filter::Filter;
use crate::context::{Context, Outcome};
use crate::failure::Result;
use crate::json;
use crate::output::{style_of, Output};
use crate::table::{Align, Cell, Table};
use crate::text;

/// List devices, by name or as --sort says
///
/// The list is of one moment, and begins at once however many devices there are. With --sort, all
/// devices are in memory first (some 150 bytes each).
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    filter: Filter,

    /// The columns, in this order
    #[arg(short = 'o', long, value_name = "COLUMN,...", value_delimiter = ',')]
    #[arg(default_value = "name,id,state,size,parent")]
    format: Vec<Column>,

    /// Sort by this column
    #[arg(long, value_name = "COLUMN")]
    sort: Option<Column>,

    /// Sort from last to first
    #[arg(short, long)]
    reverse: bool,

    /// One JSON object a line
    #[arg(long)]
    json: bool,

    /// No line of titles
    #[arg(short = 'H', long)]
    no_header: bool,

    /// Sizes in bytes
    #[arg(short, long)]
    bytes: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Column {
    Name,
    Id,
    State,
    Size,
    Parent,
    Error,
    Generation,
}

impl Args {
    pub fn run(&self, context: &Context) -> Result<Outcome> {
        let store = context.place.read_at_once()?;
        let mut out = Output::new();
        let mut list = List::new(self, context);
        let mut walk = store.walk()?;
        if self.sort.is_none() && !self.reverse {
            while let Some(device) = walk.next_ref()? {
                if self.filter.takes(&device) {
                    list.add(&device, &mut out)?;
                }
            }
        } else {
            let mut devices = Vec::new();
            while let Some(device) = walk.next_ref()? {
                if self.filter.takes(&device) {
                    devices.push(self.needed(&device));
                }
            }
            drop(walk);
            self.sort(&mut devices);
            for device in &devices {
                list.add(&device.as_ref(), &mut out)?;
            }
        }
        list.finish(&mut out)?;
        out.finish()?;
        Ok(Outcome::Fine)
    }

    /// Copies a device, without the error text if it is not needed, which can be long.
    fn needed(&self, device: &DeviceRef<'_>) -> DeviceInfo {
        let wanted = |column| column == Column::Error;
        let needed =
            self.format.iter().any(|column| wanted(*column)) || self.sort.is_some_and(wanted);
        let error: &[u8] = if needed { device.error } else { b"" };
        DeviceRef { error, ..*device }.to_owned()
    }

    fn sort(&self, devices: &mut [DeviceInfo]) {
        // The sort is stable, so that devices with equal values stay in the order of their names.
        match self.sort.unwrap_or(Column::Name) {
            Column::Name => {}
            Column::Id => devices.sort_by_key(|device| device.device_id),
            Column::State => devices.sort_by_key(|device| device.state),
            Column::Size => devices.sort_by_key(|device| device.size),
            Column::Generation => devices.sort_by_key(|device| device.generation),
            Column::Parent => devices.sort_by(|a, b| a.parent_name.cmp(&b.parent_name)),
            Column::Error => devices.sort_by(|a, b| a.error.cmp(&b.error)),
        }
        if self.reverse {
            devices.reverse();
        }
    }
}

/// The list as it is printed: a table, or JSON.
enum List<'a> {
    Table(Table, &'a Args),
    Json(&'a Args),
}

impl<'a> List<'a> {
    fn new(args: &'a Args, context: &Context) -> List<'a> {
        if args.json {
            return List::Json(args);
        }
        let aligned = args.format.iter().map(|column| column.align()).collect();
        let titles = args.format.iter().map(|column| column.title()).collect();
        let titles = (!args.no_header).then_some(titles);
        List::Table(Table::new(aligned, titles, context.paint), args)
    }

    fn add(&mut self, device: &DeviceRef<'_>, out: &mut Output) -> Result<()> {
        match self {
            List::Table(table, args) => {
                let columns = args.format.iter();
                let cells = columns
                    .map(|column| column.cell(device, args.bytes))
                    .collect();
                table.row(cells, out)
            }
            List::Json(args) => {
                let values = args.format.iter().map(|column| column.value(device));
                out.line(&json::line(&Value::Object(values.collect::<Map<_, _>>())))
            }
        }
    }

    fn finish(self, out: &mut Output) -> Result<()> {
        match self {
            List::Table(table, _) => table.finish(out),
            List::Json(_) => Ok(()),
        }
    }
}

impl Column {
    fn title(self) -> &'static str {
        match self {
            Column::Name => "NAME",
            Column::Id => "ID",
            Column::State => "STATE",
            Column::Size => "SIZE",
            Column::Parent => "PARENT",
            Column::Error => "ERROR",
            Column::Generation => "GENERATION",
        }
    }

    fn align(self) -> Align {
        match self {
            Column::Id | Column::Size | Column::Generation => Align::Right,
            _ => Align::Left,
        }
    }

    fn cell(self, device: &DeviceRef<'_>, bytes: bool) -> Cell {
        match self {
            Column::Name => text::word(device.name).into(),
            Column::Id => device.device_id.to_string().into(),
            Column::State => Cell::new(device.state.name(), style_of(device.state)),
            Column::Size if bytes => device.size.to_string().into(),
            Column::Size => text::size(device.size).into(),
            Column::Parent => text::word(device.parent_name).into(),
            Column::Error if device.error.is_empty() => "-".into(),
            Column::Error => text::escape(device.error).into(),
            Column::Generation => device.generation.to_string().into(),
        }
    }

    fn value(self, device: &DeviceRef<'_>) -> (String, Value) {
        let value = match self {
            Column::Name => text::escape(device.name).into(),
            Column::Id => device.device_id.into(),
            Column::State => device.state.name().into(),
            Column::Size => device.size.into(),
            Column::Parent => text::escape(device.parent_name).into(),
            Column::Error => text::escape(device.error).into(),
            Column::Generation => device.generation.into(),
        };
        (self.title().to_lowercase(), value)
    }
}
