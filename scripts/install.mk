# Installing what was built, and removing it again; a part of the Makefile, which sets PREFIX and
# the directories below it.

# Where shells look for completions.
BASHDIR      = $(DATADIR)/bash-completion/completions
ZSHDIR       = $(DATADIR)/zsh/site-functions
FISHDIR      = $(DATADIR)/fish/vendor_completions.d

# In the .pc file, directories under the prefix are written in terms of it.
in_prefix = $(patsubst $(PREFIX)/%,$${prefix}/%,$(1))

## install into $(DESTDIR)$(PREFIX)
install: install-library $(PMCTL_SHARE)/written
	$(INSTALL) -d '$(DESTDIR)$(BINDIR)' '$(DESTDIR)$(MANDIR)/man1' '$(DESTDIR)$(BASHDIR)' \
	    '$(DESTDIR)$(ZSHDIR)' '$(DESTDIR)$(FISHDIR)'
	$(INSTALL) -m 755 $(PMCTL) '$(DESTDIR)$(BINDIR)/'
	$(INSTALL) -m 644 $(PMCTL_SHARE)/man1/*.1 '$(DESTDIR)$(MANDIR)/man1/'
	$(INSTALL) -m 644 $(PMCTL_SHARE)/pmctl.bash '$(DESTDIR)$(BASHDIR)/pmctl'
	$(INSTALL) -m 644 $(PMCTL_SHARE)/_pmctl '$(DESTDIR)$(ZSHDIR)/'
	$(INSTALL) -m 644 $(PMCTL_SHARE)/pmctl.fish '$(DESTDIR)$(FISHDIR)/'

## install without pmctl
install-library: $(A) $(MANUAL)
	$(INSTALL) -d '$(DESTDIR)$(LIBDIR)' '$(DESTDIR)$(INCLUDEDIR)' '$(DESTDIR)$(PKGCONFIGDIR)' \
	    '$(DESTDIR)$(MANDIR)/man3' '$(DESTDIR)$(MANDIR)/man7'
	$(INSTALL) -m 644 $(HEADER) '$(DESTDIR)$(INCLUDEDIR)/'
ifneq ($(SO),)
	$(INSTALL) -m 755 $(SO) '$(DESTDIR)$(LIBDIR)/$(NAME).so.$(VERSION)'
	ln -sf $(NAME).so.$(VERSION) '$(DESTDIR)$(LIBDIR)/$(NAME).so.$(SOVERSION)'
	ln -sf $(NAME).so.$(SOVERSION) '$(DESTDIR)$(LIBDIR)/$(NAME).so'
endif
	$(INSTALL) -m 644 $(A) '$(DESTDIR)$(LIBDIR)/'
	sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@VERSION@|$(VERSION)|' \
	    -e 's|@LIBS_PRIVATE@|$(LIBS_PRIVATE)|' -e 's|@LIBDIR@|$(call in_prefix,$(LIBDIR))|' \
	    -e 's|@INCLUDEDIR@|$(call in_prefix,$(INCLUDEDIR))|' \
	    pool-metadata.pc.in >'$(DESTDIR)$(PKGCONFIGDIR)/pool-metadata.pc'
	chmod 644 '$(DESTDIR)$(PKGCONFIGDIR)/pool-metadata.pc'
	$(INSTALL) -m 644 $(dir $(MANUAL))*.3 '$(DESTDIR)$(MANDIR)/man3/'
	$(INSTALL) -m 644 man/pool_metadata.7 '$(DESTDIR)$(MANDIR)/man7/'

## remove what install installed (with the same DESTDIR, PREFIX and so on)
uninstall: $(MANUAL)
	rm -f '$(DESTDIR)$(BINDIR)/pmctl' '$(DESTDIR)$(BASHDIR)/pmctl' '$(DESTDIR)$(ZSHDIR)/_pmctl' \
	    '$(DESTDIR)$(FISHDIR)/pmctl.fish'
	rm -f '$(DESTDIR)$(MANDIR)'/man1/pmctl.1 '$(DESTDIR)$(MANDIR)'/man1/pmctl-*.1
	rm -f '$(DESTDIR)$(INCLUDEDIR)/pool_metadata.h' '$(DESTDIR)$(PKGCONFIGDIR)/pool-metadata.pc' \
	    '$(DESTDIR)$(LIBDIR)/$(NAME).so' '$(DESTDIR)$(LIBDIR)/$(NAME).so.$(SOVERSION)' \
	    '$(DESTDIR)$(LIBDIR)/$(NAME).so.$(VERSION)' '$(DESTDIR)$(LIBDIR)/$(NAME).a'
	cd $(dir $(MANUAL)) && for page in *.3; do rm -f '$(DESTDIR)$(MANDIR)/man3'/$$page; done
	rm -f '$(DESTDIR)$(MANDIR)/man7/pool_metadata.7'
