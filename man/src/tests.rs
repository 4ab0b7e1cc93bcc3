//! What the pages of a small header look like.

use crate::{header, page};

const HEADER: &str = r#"
#ifndef A_H
#define A_H

/**
 * The call did what it was asked to.
 */
#define PM_OK 0

/**
 * A thing: it has a size.
 */
typedef struct pm_error {
  /**
   * sizeof(pm_error).
   *
   * Set by the caller.
   */
  size_t struct_size;
  char message[16];
} pm_error;

/**
 * Shows a thing.
 */
typedef int32_t (*pm_show)(const struct pm_error *error, void *user_data);

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * Opens `path`, and
 * calls pm_show. Not twice.
 *
 * - one
 * - two
 *
 * @param show   Called once.
 * @param error  NULL, or
 *   where to report.
 * @return PM_OK.
 *
 * Thread safety: any thread.
 *
 * # Safety
 * Not checked.
 */
int32_t pm_open(pm_show show,
                struct pm_error *error);

int32_t pm_bare(void);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

/* Its text. */
static inline const char *pm_error_text(const pm_error *error)
{
    return error->message;
}
"#;

fn page_of(name: &str) -> String {
    let pages = page::all(&header::parse(HEADER));
    pages.into_iter().find(|page| page.0 == name).unwrap().1
}

#[test]
fn function_page_has_every_section_of_its_comment() {
    let page = page_of("pm_open");
    let body = page.split_once(".SH NAME\n").unwrap().1;
    assert_eq!(
        body,
        r"pm_open \- opens path, and calls pm_show
.SH SYNOPSIS
.nf
\fB#include <pool_metadata.h>\fR
.PP
\fBtypedef int32_t (*pm_show)(const struct pm_error *error, void *user_data);\fR
.PP
\fBint32_t pm_open(pm_show \fIshow\fB, struct pm_error *\fIerror\fB);\fR
.fi
.SH DESCRIPTION
Opens \fBpath\fR, and calls \fBpm_show\fR.
Not twice.
.IP \(bu 2
one
.IP \(bu 2
two
.SH PARAMETERS
.TP
\fIshow\fR
Called once.
.TP
\fIerror\fR
NULL, or where to report.
.SH RETURN VALUE
\fBPM_OK\fR.
.SH THREAD SAFETY
Any thread.
.SH CAVEATS
Not checked.
.SH CALLBACK
Shows a thing.
.SH SEE ALSO
.BR pm_error (3),
.BR pool_metadata (7)
"
    );
}

#[test]
fn struct_page_has_fields_inline_functions_and_constants() {
    let page = page_of("pm_error");
    let body = page.split_once(".nf\n").unwrap().1;
    assert_eq!(
        body,
        r"\fB#include <pool_metadata.h>\fR
.PP
\fBtypedef struct pm_error {
    size_t struct_size;
    char message[16];
} pm_error;\fR
.PP
\fBconst char *pm_error_text(const pm_error *\fIerror\fB);\fR
.fi
.SH DESCRIPTION
A thing: it has a size.
.SH FIELDS
.TP
\fBstruct_size\fR
sizeof(\fBpm_error\fR).
.IP
Set by the caller.
.TP
\fBmessage\fR
\&
.SH FUNCTIONS
.TP
\fBpm_error_text()\fR
Its text.
.SH STATUS CODES
.TP
\fBPM_OK (0)\fR
The call did what it was asked to.
.SH SEE ALSO
.BR pool_metadata (7)
"
    );
    assert_eq!(page_of("pm_error_text"), ".so man3/pm_error.3\n");
}

#[test]
fn function_without_a_comment_is_reported() {
    assert_eq!(header::parse(HEADER).problems, ["pm_bare has no comment"]);
}

#[test]
fn tag_in_the_middle_of_a_line_is_reported() {
    let header = header::parse("/** Adds. @param a  What. */\nint pm_add(int a);\n");
    assert_eq!(
        header.problems,
        ["a tag must start its line: Adds. @param a  What."]
    );
}
