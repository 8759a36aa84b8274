module github.com/jurymast/jurymast

go 1.26
