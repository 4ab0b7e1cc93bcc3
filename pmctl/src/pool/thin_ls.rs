//! The table that `thin_ls` prints, in its default form and with `--format`; also a list of ids.

use pool_metadata::PoolDevice;

use super::{at, id, number, PoolDevices};

/// How many columns there are by default, the id first.
const DEFAULT_COLUMNS: usize = 4;

/// Which column says what.
struct Columns {
    number: usize,
    id: usize,
    blocks: Option<usize>,
    transaction: Option<usize>,
}

pub fn parse(text: &str) -> Result<PoolDevices, String> {
    let mut found = PoolDevices::default();
    let mut columns = None;
    for (line, words) in (1..).zip(text.lines()) {
        let words: Vec<_> = words.split_whitespace().collect();
        if words.is_empty() {
            continue;
        }
        let Some(columns) = &columns else {
            let begins_with_number = words[0].starts_with(|c: char| c.is_ascii_digit());
            columns = Some(match begins_with_number {
                true => Columns::without_titles(words.len(), line)?,
                false => Columns::of(&words, line)?,
            });
            if begins_with_number {
                found.add(device(&words, columns.as_ref(), line)?, line)?;
            }
            continue;
        };
        found.add(device(&words, Some(columns), line)?, line)?;
    }
    Ok(found)
}

fn device(words: &[&str], columns: Option<&Columns>, line: usize) -> Result<PoolDevice, String> {
    let Some(columns) = columns else {
        return Err(at(line, "there are no columns"));
    };
    if words.len() != columns.number {
        let found = crate::text::count(words.len() as u64, "column");
        let what = format!("{found} where there should be {}", columns.number);
        return Err(at(line, &what));
    }
    let of = |column: Option<usize>, what| {
        let word = column.map(|column| number(words[column], what, line));
        word.transpose()
    };
    Ok(PoolDevice {
        device_id: id(words[columns.id], line)?,
        mapped_blocks: of(columns.blocks, "a number of blocks")?,
        transaction_id: of(columns.transaction, "a transaction's number")?,
    })
}

impl Columns {
    /// The columns by their titles.
    fn of(titles: &[&str], line: usize) -> Result<Columns, String> {
        let find = |title: &str| {
            let mut places = (0..titles.len()).filter(|at| titles[*at] == title);
            let first = places.next();
            match places.next() {
                None => Ok(first),
                Some(_) => Err(at(line, &format!("the column {title} is there twice"))),
            }
        };
        let Some(id) = find("DEV")? else {
            let what = "there is no column DEV: this is no output of thin_ls or thin_dump, nor a \
                        list of ids";
            return Err(at(line, what));
        };
        Ok(Columns {
            number: titles.len(),
            id,
            blocks: find("MAPPED_BLOCKS")?,
            transaction: find("TRANSACTION")?,
        })
    }

    /// The columns by their number: ids alone, or the default ones.
    fn without_titles(number: usize, line: usize) -> Result<Columns, String> {
        if number != 1 && number != DEFAULT_COLUMNS {
            let what = format!("{number} columns without titles: leave --no-headers out");
            return Err(at(line, &what));
        }
        Ok(Columns {
            number,
            id: 0,
            blocks: None,
            transaction: None,
        })
    }
}
