#!/bin/sh
# Makes a Debian package, BUILD/resnetd_VERSION_ARCH.deb, of what `make deb` has installed in BUILD/deb/root. The same programs give the same bytes.
#
# usage: make deb      needs dpkg-dev, for the libraries that the programs ask for
set -eu
cd "$(dirname "$0")/.."
build=${1:-build}

command -v dpkg-shlibdeps >/dev/null || { echo "make-deb: dpkg-shlibdeps is missing: apt-get install dpkg-dev" >&2; exit 1; }
architecture=$(dpkg --print-architecture)
version=$("$build/resnetd" --version | cut -d' ' -f2)
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null || echo 0)
export SOURCE_DATE_EPOCH

work=$build/deb
root=$work/root
mkdir -p "$work/debian"
umask 022

install -D -m 644 packaging/debian/resnetd.service "$root/lib/systemd/system/resnetd.service"
install -D -m 644 packaging/debian/resnetd.default "$root/etc/default/resnetd"
install -D -m 644 NOTICE "$root/usr/share/doc/resnetd/copyright"
printf '\nThe text of the Apache License 2.0 is in /usr/share/common-licenses/Apache-2.0.\n' >>"$root/usr/share/doc/resnetd/copyright"

# dpkg-shlibdeps reads debian/control and answers with a line "shlibs:Depends=...".
sed 's/\${shlibs:Depends}, //' packaging/debian/control.in >"$work/debian/control"
depends=$(cd "$work" && dpkg-shlibdeps -O root/usr/bin/* 2>/dev/null | sed -n 's/^shlibs:Depends=//p')
[ -n "$depends" ] || { echo "make-deb: dpkg-shlibdeps found no libraries" >&2; exit 1; }

install -d "$root/DEBIAN"
for script in postinst prerm postrm; do install -m 755 "packaging/debian/$script" "$root/DEBIAN/$script"; done
echo /etc/default/resnetd >"$root/DEBIAN/conffiles"
# The binary package's own fields: the second paragraph, and what dpkg-gencontrol would add.
{
  sed -n '/^Package:/,/^Depends:/p' packaging/debian/control.in | sed "s/^Architecture: .*/Architecture: $architecture/; s/\${shlibs:Depends}/$depends/"
  echo "Version: $version"
  sed -n '/^Section:/p; /^Priority:/p; /^Maintainer:/p; /^Suggests:/p' packaging/debian/control.in
  echo "Installed-Size: $(du -sk --exclude=DEBIAN "$root" | cut -f1)"
  sed -n '/^Description:/,$p' packaging/debian/control.in
} >"$root/DEBIAN/control"

package=$build/resnetd_${version}_$architecture.deb
dpkg-deb --root-owner-group -Zxz --build "$root" "$package" >/dev/null
echo "$package: $(stat -c %s "$package") bytes"
