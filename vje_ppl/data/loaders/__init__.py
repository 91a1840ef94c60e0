"""One loader for each kind of data set: a function from a configuration's `data` keys to `ImageData`.

Read in this order:

    digits.py         the shortest loader
    cifar.py, mnist.py, fashion_mnist.py, svhn.py, stl10.py, sample_photos.py    data sets in memory
    arrays.py         arrays in a file of NumPy; features.py: feature vectors in such a file
    download.py, idx.py    reading and downloading them
    image_folder.py   your own images, from folders
    imagenet.py, tiny_imagenet.py, dtd.py, places365.py    data sets of files
    webdataset.py, hf_dataset.py    data sets in shards and tables, which are read image by image
    shard_index.py    the places of images in shards
    scan.py, splits.py    finding image files, and the folders of training and test images
    files.py          an image set from the files that were found; 16-bit images
    labels.py, left_out.py    labels, and files that are not read
"""
