#!/bin/sh
# Lays out the files of a container image: server, converter, the libraries that they need and no others, certificates, a user. No shell, no package manager.
#
# usage: sh tools/image-root.sh [--cuda] [BUILD_DIR [ROOT_DIR]]      default: build, build/image; ROOT_DIR is made anew
#
# The libraries are those that the dynamic linker finds here, so the image has what the program was tested with. Scanners find the Debian packages that
# they come from in /var/lib/dpkg/status.d, where such images have them, and their licences in /usr/share/doc. --cuda: the GPU plug-in and
# the parts of cuDNN that it opens too, which is some 1 GB.
set -eu
cuda=
if [ "${1:-}" = --cuda ]; then
  cuda=/usr/local/cuda/lib64
  shift
fi
build=${1:-build}
root=${2:-$build/image}
libraries=$root/usr/lib/$(cc -dumpmachine)

# cuDNN opens its parts by name, so no linker knows them. These are opened when plans are made for ResNets (LD_DEBUG=files on
# build/tests/cuda_libraries/cudnn_plans_test); libcudnn_ops is here until a run on a GPU has shown that it is not. Not here: adv and cnn.
cudnn_parts="libcudnn_graph.so.9 libcudnn_heuristic.so.9 libcudnn_engines_precompiled.so.9 libcudnn_engines_runtime_compiled.so.9 libcudnn_ops.so.9"

fail() { echo "image-root: $*" >&2; exit 1; }
[ -x "$build/resnetd" ] || fail "no $build/resnetd: run make first"

rm -rf "$root"
mkdir -p "$libraries" "$root/usr/bin" "$root/usr/lib64" "$root/etc/ssl/certs" "$root/var/lib/dpkg/status.d" "$root/usr/share/doc/resnetd"
ln -s usr/lib "$root/lib"
ln -s usr/lib64 "$root/lib64"
ln -s usr/bin "$root/bin"

# The places that are written to; whoever runs the image may mount something there.
mkdir -p "$root/tmp" "$root/var/cache/resnetd" "$root/mnt/models" "$root/models"
chmod 1777 "$root/tmp" "$root/var/cache/resnetd"

for program in resnetd resnet-convert; do strip -o "$root/usr/bin/$program" "$build/$program"; done
for name in tensorflow_model_server tf_serving_entrypoint.sh; do ln -s resnetd "$root/usr/bin/$name"; done
cp LICENSE NOTICE "$root/usr/share/doc/resnetd/"

programs="$build/resnetd $build/resnet-convert"
if [ -n "$cuda" ]; then
  [ -e "$build/libresnetd-cuda.so" ] || fail "no $build/libresnetd-cuda.so: run make cuda, which says what is missing for it"
  strip -o "$root/usr/lib/libresnetd-cuda.so" "$build/libresnetd-cuda.so"
  programs="$programs $build/libresnetd-cuda.so"
  folder=$(dirname "$(ldd "$build/libresnetd-cuda.so" | awk '$1 == "libcudnn.so.9" { print $3 }')")
  for part in $cudnn_parts; do
    [ -e "$folder/$part" ] || fail "no $part in $folder"
    programs="$programs $folder/$part"
  done
  for part in "$cuda"/libnvrtc.so.[0-9][0-9] "$cuda"/libnvrtc-builtins.so.[0-9][0-9].[0-9]; do # what the runtime-compiled engines open
    if [ -e "$part" ]; then programs="$programs $part"; fi
  done
fi

# Under the names that programs ask for; and what is itself a library of that list.
owned=
for program in $programs; do
  case $program in
  "$build"/*) ;;
  *) cp -Ln "$program" "$libraries/" ;;
  esac
  ldd "$program" | awk '$3 ~ "^/" { print $1, $3 } $1 ~ "^/" { print $1, $1 } /not found/ { print "missing", $1 }' |
    while read -r name path; do
      [ "$name" != missing ] || fail "$program needs $path, which is not found"
      case $name in
      /*) cp -L "$path" "$root/usr/lib64/" ;; # the dynamic linker, by its full name
      *) cp -L "$path" "$libraries/$name" ;;
      esac
      readlink -f "$path"
    done >"$root/paths"
  owned="$owned $(cat "$root/paths")"
done
rm "$root/paths"

cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
printf 'hosts: files dns\n' >"$root/etc/nsswitch.conf"
printf 'root:x:0:0:root:/:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/:/sbin/nologin\n' >"$root/etc/passwd"
printf 'root:x:0:\nnonroot:x:65532:\n' >"$root/etc/group"

# The package manager knows files of /lib by that name or by /usr/lib; it complains about those that it knows by the other one.
for path in $owned; do printf '%s\n%s\n' "$path" "${path#/usr}"; done | sort -u | xargs dpkg-query -S 2>/dev/null |
  sed 's/:.*//' | sort -u >"$root/packages" || true
echo ca-certificates >>"$root/packages"
while read -r package; do
  dpkg-query -s "$package" >"$root/var/lib/dpkg/status.d/$package"
  if [ -e "/usr/share/doc/$package/copyright" ]; then
    mkdir -p "$root/usr/share/doc/$package"
    cp -L "/usr/share/doc/$package/copyright" "$root/usr/share/doc/$package/"
  fi
done <"$root/packages"
rm "$root/packages"

echo "image-root: $root: $(find "$root" -type f | wc -l) files, $(du -sm --apparent-size "$root" | cut -f 1) MB"
